package group

import (
	"bytes"
	"encoding/binary"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// Offsets committed in a transaction stay apart until the transaction's marker:
//
//	rowPending | producer id, 8 bytes | offset key  ->  offset value
//	rowHolds   | offset key | producer id, 8 bytes  ->  (empty)
//
// The first finds what a marker ends, the second what a partition waits for. A committed
// transaction's offsets then become rows like others; an aborted one's go.

func pendingPrefix(producer int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(rowPending), uint64(producer))
}

func holdsPrefix(key []byte) []byte { return append([]byte(rowHolds), key...) }

func holdsKey(key []byte, producer int64) []byte {
	return binary.BigEndian.AppendUint64(holdsPrefix(key), uint64(producer))
}

// holdOffset enters an offset of an open transaction.
func holdOffset(w runtime.Writer, e *runtime.Entry, key []byte) error {
	pending := append(pendingPrefix(e.ProducerID), key...)
	if e.Value == nil {
		if err := w.Delete(pending); err != nil {
			return err
		}
		return w.Delete(holdsKey(key, e.ProducerID))
	}
	if err := w.Set(pending, e.Value); err != nil {
		return err
	}
	return w.Set(holdsKey(key, e.ProducerID), nil)
}

// releaseOffset drops what open transactions hold of an offset that is deleted: their
// markers must not bring it back.
func releaseOffset(w runtime.Writer, key []byte) error {
	holds, err := keys(w, holdsPrefix(key))
	if err != nil {
		return err
	}
	for _, hold := range holds {
		producer := hold[len(hold)-8:]
		pending := append(append([]byte(rowPending), producer...), key...)
		if err := w.Delete(pending); err != nil {
			return err
		}
		if err := w.Delete(hold); err != nil {
			return err
		}
	}
	return nil
}

// endTransaction turns a producer's pending offsets into committed ones, or drops them.
func endTransaction(w runtime.Writer, e *runtime.Entry) error {
	prefix := pendingPrefix(e.ProducerID)
	pending, err := keys(w, prefix)
	if err != nil {
		return err
	}
	for _, p := range pending {
		key := p[len(prefix):]
		if e.Marker.Commit {
			value, ok, err := w.Get(p)
			if err != nil {
				return err
			}
			if ok {
				if err := w.Set(key, value); err != nil {
					return err
				}
			}
		}
		if err := w.Delete(p); err != nil {
			return err
		}
		if err := w.Delete(holdsKey(key, e.ProducerID)); err != nil {
			return err
		}
	}
	return nil
}

// held tells whether an open transaction holds an offset.
func held(r runtime.Reader, key []byte) (bool, error) {
	prefix, found := holdsPrefix(key), false
	err := r.Scan(prefix, nil, func(k, _ []byte) bool {
		found = len(k) == len(prefix)+8
		return !found
	})
	return found, err
}

// keys collects the keys of a prefix, before they are changed.
func keys(r runtime.Reader, prefix []byte) ([][]byte, error) {
	var all [][]byte
	err := r.Scan(prefix, nil, func(key, _ []byte) bool {
		all = append(all, bytes.Clone(key))
		return true
	})
	return all, err
}
