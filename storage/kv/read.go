package kv

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Reader is what can be asked: the DB for its newest rows, or a Snapshot.
type Reader interface {
	// Get appends the value of the row with the key to dst, which may be nil, and
	// answers the result; ErrNotFound when there is no such row.
	Get(s Space, key, dst []byte) ([]byte, error)
	// Iter answers an iterator over the rows of the space whose keys are not below
	// lower and below upper, as they are at this moment; nil leaves that side
	// open. It must be closed.
	Iter(s Space, lower, upper []byte) (*Iter, error)
}

var (
	_ Reader = (*DB)(nil)
	_ Reader = (*Snapshot)(nil)
)

type getter interface {
	Get(key []byte) ([]byte, io.Closer, error)
}

type iterated interface {
	NewIter(*pebble.IterOptions) (*pebble.Iterator, error)
}

// Get is Reader's.
func (db *DB) Get(s Space, key, dst []byte) ([]byte, error) { return db.get(db.pebble, s, key, dst) }

// Iter is Reader's.
func (db *DB) Iter(s Space, lower, upper []byte) (*Iter, error) {
	return db.iter(db.pebble, s, lower, upper)
}

func (db *DB) get(from getter, s Space, key, dst []byte) ([]byte, error) {
	if err := errors.Join(db.Err(), s.check()); err != nil {
		return dst, err
	}
	buf := db.keys.Get().(*[]byte)
	*buf = s.appendKey((*buf)[:0], key)
	value, closer, err := from.Get(*buf)
	db.keys.Put(buf)
	if err != nil {
		return dst, classify(err)
	}
	dst = append(dst, value...)
	return dst, closer.Close()
}

func (db *DB) iter(from iterated, s Space, lower, upper []byte) (*Iter, error) {
	if err := errors.Join(db.Err(), s.check()); err != nil {
		return nil, err
	}
	low, up := s.bounds(lower, upper)
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: up})
	if err != nil {
		return nil, classify(err)
	}
	return &Iter{it: it, db: db, space: s}, nil
}

// bounds answers the keys on disk between which a range of the space lies.
func (s Space) bounds(lower, upper []byte) (from, to []byte) {
	from = s.appendKey(nil, lower)
	if upper == nil {
		return from, s.appendEnd(nil)
	}
	return from, s.appendKey(nil, upper)
}

// Snapshot is the rows as they were at one moment. It keeps what it shows from
// being reclaimed, so it should not live long. It may be used from any goroutine.
type Snapshot struct {
	db *DB
	s  *pebble.Snapshot
}

// Snapshot answers the rows as they are now. It must be closed.
func (db *DB) Snapshot() (*Snapshot, error) {
	if err := db.Err(); err != nil {
		return nil, err
	}
	return &Snapshot{db, db.pebble.NewSnapshot()}, nil
}

// Get is Reader's.
func (s *Snapshot) Get(sp Space, key, dst []byte) ([]byte, error) { return s.db.get(s.s, sp, key, dst) }

// Iter is Reader's.
func (s *Snapshot) Iter(sp Space, lower, upper []byte) (*Iter, error) {
	return s.db.iter(s.s, sp, lower, upper)
}

// Close lets the snapshot go.
func (s *Snapshot) Close() error { return s.s.Close() }

// Iter walks over rows in the order of their keys. It starts before the first
// row and belongs to one goroutine. A walk:
//
//	for ok := it.First(); ok; ok = it.Next() { ... it.Key() ... it.Value() }
//	err := it.Close()
type Iter struct {
	it    *pebble.Iterator
	db    *DB
	space Space
	key   []byte // scratch of SeekGE
	value []byte
	err   error
}

// First goes to the first row, and tells whether there is one.
func (i *Iter) First() bool { return i.load(i.it.First()) }

// Last goes to the last row, and tells whether there is one.
func (i *Iter) Last() bool { return i.load(i.it.Last()) }

// Next goes to the next row, and tells whether there is one.
func (i *Iter) Next() bool { return i.load(i.it.Next()) }

// Prev goes to the row before, and tells whether there is one.
func (i *Iter) Prev() bool { return i.load(i.it.Prev()) }

// SeekGE goes to the first row whose key is not below key, and tells whether
// there is one.
func (i *Iter) SeekGE(key []byte) bool {
	i.key = i.space.appendKey(i.key[:0], key)
	return i.load(i.it.SeekGE(i.key))
}

func (i *Iter) load(valid bool) bool {
	if !valid || i.err != nil {
		return false
	}
	i.value, i.err = i.it.ValueAndErr()
	return i.err == nil
}

// Key answers the key of the row, without its space, until the iterator moves.
func (i *Iter) Key() []byte { return i.it.Key()[len(i.space.prefix):] }

// Value answers the value of the row, until the iterator moves.
func (i *Iter) Value() []byte { return i.value }

// Close ends the walk and answers what cut it short, if something did.
func (i *Iter) Close() error {
	err := errors.Join(i.err, i.it.Error())
	_ = i.it.Close() // answers Error again
	if err != nil {
		return fmt.Errorf("kv: walk: %w", classify(err))
	}
	return i.db.failure()
}

// failure answers why the store failed, if it did; a walk that ended after that
// may have seen rows that are not on disk.
func (db *DB) failure() error {
	if err := db.Err(); errors.Is(err, ErrFailed) {
		return err
	}
	return nil
}
