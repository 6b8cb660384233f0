package runtime

// Store is the key-value store under the views.
type StoreReader interface {
	Get(key []byte) (value []byte, ok bool, err error)
	Iterate(lower, upper []byte, fn func(key, value []byte) bool) error
}
type Store interface {
	StoreReader
	Snapshot() StoreSnapshot
	NewBatch() StoreBatch
}
type StoreSnapshot interface {
	StoreReader
	Close()
}
type StoreBatch interface {
	Set(key, value []byte) error
	Delete(key []byte) error
	DeleteRange(from, to []byte) error
	Commit() error
	Close()
}
