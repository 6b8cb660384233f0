package cluster

import (
	"context"
	"fmt"
	"maps"
)

// maxConfigValue bounds a config set as stored. Thousands of changes stay in the memory of an embedded etcd (catchUp), and a default etcd refuses
// requests of 1.5 MiB and more.
const maxConfigValue = 256 << 10

// KindTopic is the kind of config sets that live and die with a topic.
const KindTopic = "topic"

func encodeConfigs(values map[string]string) ([]byte, error) {
	value := encode(values)
	if len(value) > maxConfigValue {
		return nil, refuse(ErrTooLarge, "The configuration is larger than %d bytes.", maxConfigValue)
	}
	return value, nil
}

// AlterConfigs replaces the config set of one resource by what edit makes of it: a compare-and-swap, so edit may run several times, each time
// on a copy of the newest set (empty when there is none), and its error ends the change. An empty result removes the set. Sets of kind
// KindTopic need their topic: ErrUnknownTopic.
func (c *Cluster) AlterConfigs(ctx context.Context, kind, name string, edit func(current map[string]string) (map[string]string, error)) error {
	ctx, end, err := c.enterSwap(ctx)
	if err != nil {
		return err
	}
	defer end()
	key := c.prefix.config(kind, name)
	for range casAttempts {
		kv, err := get(ctx, c.store, key)
		if err != nil {
			return err
		}
		current, err := currentConfigs(kv)
		if err != nil {
			c.log.Error("config set that cannot be read is replaced", errorFields(key, err)...)
		}
		next, err := edit(maps.Clone(current))
		if err != nil {
			return err
		}
		if maps.Equal(next, current) {
			_, err := c.view.awaitRevision(ctx, kv.ModRevision)
			return err
		}
		done, err := c.swapConfigs(ctx, kind, name, kv, next)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("configs of %s %q: %w", kind, name, ErrConflict)
}

func currentConfigs(kv KV) (map[string]string, error) {
	if kv.ModRevision == 0 {
		return map[string]string{}, nil
	}
	values, err := decodeConfigs(kv.Value)
	if values == nil {
		values = map[string]string{}
	}
	return values, err
}

// swapConfigs answers false when another change came first.
func (c *Cluster) swapConfigs(ctx context.Context, kind, name string, kv KV, next map[string]string) (bool, error) {
	op := Op{Key: kv.Key, Delete: true}
	if len(next) > 0 {
		value, err := encodeConfigs(next)
		if err != nil {
			return false, err
		}
		op = Op{Key: kv.Key, Value: value}
	}
	txn := Txn{If: []Cond{c.session.identity, {Key: kv.Key, Revision: kv.ModRevision}}, Then: []Op{op}}
	if kind == KindTopic {
		topic, err := get(ctx, c.store, c.prefix.topic(name))
		if err != nil {
			return false, err
		}
		if topic.ModRevision == 0 {
			return false, refuse(ErrUnknownTopic, "The topic '%s' does not exist.", name)
		}
		txn.If = append(txn.If, Cond{Key: topic.Key, Exists: true})
	}
	res, err := c.store.Txn(ctx, txn)
	if err != nil || !res.Done {
		return false, err
	}
	_, err = c.view.awaitRevision(ctx, res.Revision)
	return true, err
}
