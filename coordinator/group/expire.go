package group

import (
	"bytes"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// expiry is the pass over the shard's rows that deletes offsets past their retention, and
// then groups without members and offsets. It goes in steps of a bounded number of rows, so
// that a coordinator of many rows serves meanwhile.
type expiry struct {
	groups bool   // the pass is at the groups; offsets come first
	from   []byte // row to go on from; nil: the beginning
}

// expiryStep bounds the rows that one step looks at.
const expiryStep = 2000

// expire decides one step of the pass.
func (s *machine) expire(v runtime.View) runtime.Outcome {
	step := s.expireOffsets
	if s.expiry.groups {
		step = s.expireGroups
	}
	records, next, err := step(v, s.expiry.from)
	if err != nil {
		s.log.Error("expired offsets could not be looked for", zap.Error(err))
		next, records = nil, nil
	}
	end := next == nil && (s.expiry.groups || err != nil)
	again := func(tx *runtime.Tx, after time.Duration) {
		tx.Schedule(runtime.Timer{Kind: timerExpiry}, tx.Now().Add(after))
	}
	return runtime.Outcome{
		Records: records,
		Then: func(tx *runtime.Tx) {
			switch {
			case end:
				s.expiry = expiry{}
				again(tx, s.cfg.RetentionInterval)
			case next == nil:
				s.expiry = expiry{groups: true}
				again(tx, 0)
			default:
				s.expiry.from = next
				again(tx, 0)
			}
			if len(records) > 0 {
				s.log.Info("offsets or groups expired", zap.Int("tombstones", len(records)))
			}
		},
		Refused: func(tx *runtime.Tx, _ error) {
			s.expiry = expiry{}
			again(tx, s.cfg.RetentionInterval)
		},
	}
}

// expireOffsets looks at offsets from a row on. It answers where to go on, nil at the end.
func (s *machine) expireOffsets(v runtime.View, from []byte) (tombstones []runtime.Record, next []byte, err error) {
	var g *group // of the row at hand
	var failed error
	rows := 0
	err = v.Scan([]byte{0, typeOffset}, from, func(key, value []byte) bool {
		if rows++; rows > expiryStep || len(tombstones) == maxTombstones {
			next = bytes.Clone(key)
			return false
		}
		k, ok := decodeOffsetKey(key)
		if !ok {
			return true
		}
		if g == nil || g.id != k.group {
			if g, failed = s.find(v, k.group); failed != nil || g == nil {
				return failed == nil
			}
		}
		if !s.expired(g, k.topic, value, v.Now()) {
			return true
		}
		var wait bool
		if wait, failed = held(v, key); failed == nil && !wait {
			tombstones = append(tombstones, runtime.Record{Key: bytes.Clone(key)})
		}
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	return tombstones, next, err
}

// expired tells whether an offset's time is over (KIP-211): counted from when its group
// became empty; from its commit where the group is of a simple consumer, or does not
// subscribe to the topic any more.
func (s *machine) expired(g *group, topic string, value []byte, now time.Time) bool {
	v, err := decodeOffsetValue(value)
	if err != nil || g.subscribed(topic) {
		return false
	}
	base := time.UnixMilli(v.committed)
	switch {
	case g.protocolType == "":
	case g.phase == empty:
		if !g.since.IsZero() {
			base = g.since
		}
	case g.usesConsumerProtocol() && g.known && g.phase == stable:
	default:
		return false
	}
	if v.expires >= 0 {
		return now.UnixMilli() >= v.expires
	}
	return now.Sub(base) >= s.cfg.OffsetsRetention
}

// expireGroups looks at groups from a row on, and deletes those without members or
// offsets.
func (s *machine) expireGroups(v runtime.View, from []byte) (tombstones []runtime.Record, next []byte, err error) {
	var failed error
	rows := 0
	err = v.Scan([]byte{0, typeGroup}, from, func(key, _ []byte) bool {
		if rows++; rows > expiryStep/10 {
			next = bytes.Clone(key)
			return false
		}
		name, _, ok := readString(key[2:])
		if !ok {
			return true
		}
		if g := s.groups[name]; g != nil {
			return true // members, or somebody about to become one
		}
		var used bool
		if used, failed = inUse(v, name); failed == nil && !used {
			tombstones = append(tombstones, runtime.Record{Key: bytes.Clone(key)})
		}
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	return tombstones, next, err
}

// inUse tells whether a group that is not in memory has offsets, committed or held by a
// transaction, or members in a record that could not be read.
func inUse(v runtime.View, group string) (bool, error) {
	if _, live, err := v.Get(liveKey(group)); live || err != nil {
		return live, err
	}
	if offsets, err := hasOffsets(v, group); offsets || err != nil {
		return offsets, err
	}
	found := false
	err := v.Scan(append([]byte(rowHolds), appendOffsetPrefix(nil, group)...), nil, func([]byte, []byte) bool {
		found = true
		return false
	})
	return found, err
}

// Topic is one that was deleted.
type Topic struct {
	Name string
	ID   uuid.ID
}

// dropTopics decides one step of deleting the offsets of deleted topics, and tells where
// to go on, nil at the end. A topic made again under the same name keeps its own.
func (s *machine) dropTopics(v runtime.View, topics map[string]uuid.ID, from []byte, done func(next []byte, err error)) runtime.Outcome {
	var tombstones []runtime.Record
	var next []byte
	rows := 0
	err := v.Scan([]byte{0, typeOffset}, from, func(key, value []byte) bool {
		if rows++; rows > expiryStep || len(tombstones) == maxTombstones {
			next = bytes.Clone(key)
			return false
		}
		k, ok := decodeOffsetKey(key)
		if !ok {
			return true
		}
		id, deleted := topics[k.topic]
		if !deleted {
			return true
		}
		if o, err := decodeOffsetValue(value); err == nil && o.topic != (uuid.ID{}) && o.topic != id {
			return true
		}
		tombstones = append(tombstones, runtime.Record{Key: bytes.Clone(key)})
		return true
	})
	if err != nil {
		return runtime.Outcome{Reply: func(error) { done(nil, err) }}
	}
	return runtime.Outcome{Records: tombstones, Reply: func(err error) { done(next, err) }}
}
