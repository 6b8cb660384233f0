package logdir

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
)

// The facts about logs are rows of one key space, one row a fact, so that each has one writer and none is read before it is
// written:
//
//	key    topic id 16 | partition uint32 big-endian | fact 1
//	fact   'i'  topic name: the log exists                  OpenLog
//	       'p'  recovery point, varint                      checkpoints; lowered by truncation
//	       's'  log start, varint                           the log, before segments go
//	       'c'  cleaner's checkpoint, varint                with recovery points
//	       'f'  promised end of a log that is offline       Activate
//	       'S'  log.State of the last clean stop            Close
var (
	factSpace = kv.NewSpace("logdir", "log")
	metaSpace = kv.NewSpace("logdir", "meta")
)

const (
	factTopic    = 'i'
	factPoint    = 'p'
	factStart    = 's'
	factCleaned  = 'c'
	factPromised = 'f'
	factState    = 'S'

	factKeyBytes = 16 + 4
)

// facts is what is known of a log from before this start.
type facts struct {
	topic    string
	point    int64
	start    int64
	cleaned  int64
	promised int64
	state    []byte
	closed   bool // in this life: state is that of a log that was recovered and closed again
}

func factPrefix(key journal.Key) []byte {
	b := make([]byte, 0, factKeyBytes+1)
	b = append(b, key.Topic[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(key.Partition))
}

func factKey(key journal.Key, fact byte) []byte { return append(factPrefix(key), fact) }

func setNumber(b *kv.Batch, key journal.Key, fact byte, n int64) {
	b.Set(factSpace, factKey(key, fact), binary.AppendVarint(nil, n))
}

// dropFacts removes all rows of a log.
func dropFacts(b *kv.Batch, key journal.Key) {
	b.DeleteRange(factSpace, factPrefix(key), append(factPrefix(key), 0xFF))
}

// loadFacts reads the facts of all logs in one pass.
func loadFacts(db *kv.DB) (map[journal.Key]*facts, error) {
	it, err := db.Iter(factSpace, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("logdir: read facts: %w", err)
	}
	all := map[journal.Key]*facts{}
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		if len(k) != factKeyBytes+1 {
			continue
		}
		key := journal.Key{Topic: uuid.ID(k[:16]), Partition: int32(binary.BigEndian.Uint32(k[16:]))}
		f := all[key]
		if f == nil {
			f = &facts{}
			all[key] = f
		}
		if err := f.take(k[factKeyBytes], it.Value()); err != nil {
			_ = it.Close()
			return nil, fmt.Errorf("logdir: fact %q of log %s: %w", k[factKeyBytes], key, err)
		}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("logdir: read facts: %w", err)
	}
	for key, f := range all {
		if f.topic == "" { // left of a deletion that was not synced
			delete(all, key)
		}
	}
	return all, nil
}

func (f *facts) take(fact byte, value []byte) error {
	switch fact {
	case factTopic:
		f.topic = string(value)
		return nil
	case factState:
		f.state = append([]byte(nil), value...)
		return nil
	}
	n, size := binary.Varint(value)
	if size != len(value) || n < 0 {
		return fmt.Errorf("%w: %d bytes are no offset", kv.ErrCorrupt, len(value))
	}
	switch fact {
	case factPoint:
		f.point = n
	case factStart:
		f.start = n
	case factCleaned:
		f.cleaned = n
	case factPromised:
		f.promised = n
	}
	return nil
}
