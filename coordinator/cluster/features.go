package cluster

import (
	"context"
	"fmt"
	"maps"

	"go.uber.org/zap"
)

// raiseFeatures brings the finalized feature levels of a cluster that was founded earlier to what this broker knows, so that what came
// since is in force there too. Levels that are as high or higher, and features that this broker does not know, stay as they are; nothing
// is ever lowered. identity is the condition that it is still the same cluster.
func raiseFeatures(ctx context.Context, store Store, prefix keys, identity Cond, o Options) error {
	if len(o.Features) == 0 {
		return nil
	}
	for range casAttempts {
		kv, err := get(ctx, store, prefix.features())
		if err != nil {
			return err
		}
		var levels map[string]int16
		if kv.ModRevision != 0 {
			if levels, err = decodeFeatures(kv.Value); err != nil {
				o.Log.Error("feature levels that cannot be read are left as they are", errorFields(kv.Key, err)...)
				return nil
			}
		}
		next := map[string]int16{}
		maps.Copy(next, levels)
		for name, level := range o.Features {
			next[name] = max(next[name], level)
		}
		if maps.Equal(next, levels) {
			return nil
		}
		res, err := store.Txn(ctx, Txn{If: []Cond{identity, {Key: kv.Key, Revision: kv.ModRevision}}, Then: []Op{{Key: kv.Key, Value: encode(next)}}})
		if err != nil {
			return err
		}
		if res.Done {
			o.Log.Info("features of the cluster are raised to what this version knows", zap.Any("from", levels), zap.Any("to", next))
			return nil
		}
	}
	return fmt.Errorf("features of the cluster: %w", ErrConflict)
}
