package runtime

import (
	"errors"
	"strconv"

	"github.com/tidemark-mq/tidemark/storage/kv"
)

// kvStore keeps a partition's rows in its own space of the data directory's Pebble.
type kvStore struct {
	kvReader
	db *kv.DB
}

func newKVStore(db *kv.DB, name string, partition int32) *kvStore {
	space := kv.NewSpace("coordinator", name, strconv.Itoa(int(partition)))
	return &kvStore{kvReader{db, space}, db}
}

// kvReader reads a space, from the store itself or from a snapshot of it.
type kvReader struct {
	from  kv.Reader
	space kv.Space
}

func (r kvReader) get(key []byte) ([]byte, bool, error) {
	value, err := r.from.Get(r.space, key, nil)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}

func (r kvReader) iterate(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := r.from.Iter(r.space, lower, upper)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && fn(it.Key(), it.Value()); ok = it.Next() {
	}
	return it.Close()
}

func (s *kvStore) snapshot() (storeSnapshot, error) {
	snap, err := s.db.Snapshot()
	if err != nil {
		return nil, err
	}
	return kvSnapshot{kvReader{snap, s.space}, snap}, nil
}

type kvSnapshot struct {
	kvReader
	snap *kv.Snapshot
}

func (s kvSnapshot) close() { _ = s.snap.Close() }

func (s *kvStore) write(fn func(storeWriter)) error {
	b := s.db.NewBatch()
	fn(kvWriter{b, s.space})
	return b.Commit(false)
}

type kvWriter struct {
	b     *kv.Batch
	space kv.Space
}

func (w kvWriter) set(key, value []byte) { w.b.Set(w.space, key, value) }
func (w kvWriter) delete(key []byte)     { w.b.Delete(w.space, key) }
func (w kvWriter) deleteAll()            { w.b.DropPrefix(w.space) }
