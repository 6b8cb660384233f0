package kv

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Batch collects changes of rows that take effect together. It belongs to one
// goroutine, and must be committed or closed. Keys and values are copied. What
// is wrong with a change is answered by Commit.
type Batch struct {
	db  *DB
	b   *pebble.Batch
	err error
}

// NewBatch answers an empty batch.
func (db *DB) NewBatch() *Batch {
	b := &Batch{db: db, err: db.Err()}
	if b.err == nil {
		b.b = db.pebble.NewBatch()
	}
	return b
}

// ok tells whether a change to s may be added.
func (b *Batch) ok(s Space) bool {
	if b.err == nil {
		b.err = s.check()
	}
	return b.err == nil
}

// Set makes the row with the key in the space hold value.
func (b *Batch) Set(s Space, key, value []byte) {
	if !b.ok(s) {
		return
	}
	op := b.b.SetDeferred(len(s.prefix)+len(key), len(value))
	copy(op.Key[copy(op.Key, s.prefix):], key)
	copy(op.Value, value)
	b.err = op.Finish()
}

// Delete removes the row with the key from the space, if there is one.
func (b *Batch) Delete(s Space, key []byte) {
	if !b.ok(s) {
		return
	}
	op := b.b.DeleteDeferred(len(s.prefix) + len(key))
	copy(op.Key[copy(op.Key, s.prefix):], key)
	b.err = op.Finish()
}

// DeleteRange removes the rows of the space whose keys are not below start and
// below end. A nil end is past all keys of the space.
func (b *Batch) DeleteRange(s Space, start, end []byte) {
	if !b.ok(s) {
		return
	}
	from, to := s.bounds(start, end)
	b.err = b.b.DeleteRange(from, to, nil)
}

// DropPrefix removes all rows of the space.
func (b *Batch) DropPrefix(s Space) { b.DeleteRange(s, nil, nil) }

// Count answers how many changes the batch has.
func (b *Batch) Count() int {
	if b.b == nil {
		return 0
	}
	return int(b.b.Count())
}

// Len answers the size of the batch in bytes, as it will be logged.
func (b *Batch) Len() int {
	if b.b == nil {
		return 0
	}
	return b.b.Len()
}

// Commit makes the changes take effect together, for every reader that comes
// after; with sync they are also durable when it returns nil, and so is
// everything committed before. With an error nothing is known of them, unless it
// came from a wrong change. The batch is done with in any case.
func (b *Batch) Commit(sync bool) error {
	if b.err != nil {
		err := b.err
		_ = b.Close()
		return err
	}
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	err := b.b.Commit(options)
	// Asked after the commit: once the store has failed, Pebble's own answer means
	// nothing.
	if down := b.db.Err(); down != nil {
		err = down
	}
	return errors.Join(err, b.Close())
}

// Close throws the changes away. It does nothing after Commit.
func (b *Batch) Close() error {
	if b.err == nil {
		b.err = ErrClosed
	}
	if b.b == nil {
		return nil
	}
	err := b.b.Close()
	b.b = nil
	return err
}

// DropPrefix removes all rows of a space in a batch of its own.
func (db *DB) DropPrefix(s Space, sync bool) error {
	b := db.NewBatch()
	b.DropPrefix(s)
	return b.Commit(sync)
}
