package share

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// The kinds of rows; see the package's doc.
const (
	rowSnapshot = 'S'
	rowUpdate   = 'U'
	rowHead     = 'H'
	rowOldest   = 'O'
)

func rowKey(kind byte, k Key) []byte {
	return appendKey(append(make([]byte, 0, 1+2+len(k.Group)+16+4+8), kind), k)
}

func updateKey(k Key, offset int64) []byte {
	return binary.BigEndian.AppendUint64(rowKey(rowUpdate, k), uint64(offset))
}

func oldestKey(offset int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowOldest}, uint64(offset))
}

// Rows makes the rows of a record of __share_group_state; it is runtime.Options.Rows.
func Rows(w runtime.Writer, e *runtime.Entry) error {
	typ, k, ok := decodeKey(e.Key)
	switch {
	case e.Marker != nil || !ok:
		return nil // nothing that a share coordinator writes
	case typ == typeSnapshot:
		return snapshotRows(w, k, e)
	case e.Value == nil:
		return nil // Kafka deletes with a snapshot's tombstone
	}
	return w.Set(updateKey(k, e.Offset), e.Value)
}

// snapshotRows puts a snapshot, or nothing for a tombstone, in place of what was known.
func snapshotRows(w runtime.Writer, k Key, e *runtime.Entry) error {
	old, ok, err := w.Get(rowKey(rowHead, k))
	if err != nil {
		return err
	}
	if ok && len(old) == 8 {
		if err := w.Delete(append([]byte{rowOldest}, old...)); err != nil {
			return err
		}
	}
	if err := deleteUpdates(w, k); err != nil {
		return err
	}
	if e.Value == nil {
		if err := w.Delete(rowKey(rowHead, k)); err != nil {
			return err
		}
		return w.Delete(rowKey(rowSnapshot, k))
	}
	if err := w.Set(rowKey(rowSnapshot, k), e.Value); err != nil {
		return err
	}
	if err := w.Set(rowKey(rowHead, k), binary.BigEndian.AppendUint64(nil, uint64(e.Offset))); err != nil {
		return err
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(writtenAt(e.Value)))
	return w.Set(oldestKey(e.Offset), appendKey(value, k))
}

func deleteUpdates(w runtime.Writer, k Key) error {
	var keys [][]byte
	err := w.Scan(rowKey(rowUpdate, k), nil, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	for _, key := range keys {
		if err == nil {
			err = w.Delete(key)
		}
	}
	return err
}

// load makes a state from its rows; nil if there is none.
func load(r runtime.Reader, k Key) (*sharePartition, error) {
	value, ok, err := r.Get(rowKey(rowSnapshot, k))
	if err != nil || !ok {
		return nil, err
	}
	c, err := decodeSnapshot(value)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", k, err)
	}
	p := newPartition(k)
	p.reset(c)
	var bad error
	err = r.Scan(rowKey(rowUpdate, k), nil, func(_, value []byte) bool {
		var c *change
		if c, bad = decodeUpdate(value); bad != nil {
			bad = fmt.Errorf("update of %s: %w", k, bad)
			return false
		}
		p.update(c)
		p.updates++
		p.updateBytes += int64(len(value)) + updateOverhead
		return true
	})
	if err == nil {
		err = bad
	}
	return p, err
}

// oldest is a snapshot in the log by its place there.
type oldest struct {
	offset  int64
	written int64 // ms
	key     Key
}

// eachOldest calls fn for the snapshots that are needed, from the first in the log on, until it answers false.
func eachOldest(r runtime.Reader, fn func(oldest) bool) error {
	return r.Scan([]byte{rowOldest}, nil, func(key, value []byte) bool {
		at, v := reader{b: key[1:]}, reader{b: value}
		o := oldest{offset: at.int64(), written: v.int64(), key: v.key()}
		return at.short || v.short || fn(o)
	})
}
