package cluster

import (
	"context"
	"time"
)

// MaxTxnOps is how many conditions and how many operations one transaction may hold: etcd's default limit.
const MaxTxnOps = 128

// Store is what the package asks of etcd, and no more. Revisions are etcd's: one counter for the whole store, raised by each transaction that
// changes something. All methods may be called from any goroutine.
//
// Errors: ErrUnavailable when no answer came (a change may or may not have happened), ErrCompacted, ErrLeaseGone, ErrTooLarge, the context's.
type Store interface {
	// Range lists keys in order.
	Range(ctx context.Context, r Range) (RangeResult, error)
	// Txn performs t.Then if all of t.If hold, all at one revision, and nothing otherwise.
	Txn(ctx context.Context, t Txn) (TxnResult, error)
	// Watch calls fn with the changes of keys under prefix from revision from on, in order; all events of one revision come in one call. It
	// returns when ctx ends, when fn fails, or with ErrCompacted when the history from there is gone.
	Watch(ctx context.Context, prefix string, from int64, fn func([]Event) error) error
	// Grant makes a lease: keys put under it vanish when it is not renewed for ttl. It answers the ttl that holds, at least the asked one.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)
	// KeepAlive renews a lease once. ErrLeaseGone when it ran out.
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)
	// Revoke ends a lease and removes its keys. No error when it is gone already.
	Revoke(ctx context.Context, id LeaseID) error
	// Close ends the client and, when embedded, the server.
	Close() error
}

// LeaseID names a lease; 0 is none.
type LeaseID int64

// KV is one key as stored.
type KV struct {
	Key         string
	Value       []byte
	ModRevision int64
	Lease       LeaseID
}

// Range asks for the keys that start with Prefix (or are Prefix itself).
type Range struct {
	Prefix   string
	After    string // only keys greater than this one; "" = from the start
	Limit    int    // 0 = no limit
	Revision int64  // read the state as of this revision; 0 = the newest
}

// RangeResult answers a Range.
type RangeResult struct {
	KVs      []KV
	More     bool  // Limit cut the list
	Revision int64 // the store's revision when it answered
}

// Cond is a condition of a transaction on one key's last change.
type Cond struct {
	Key      string
	Exists   bool  // the key must exist; Revision is ignored
	Revision int64 // the key's ModRevision must be this; 0 = the key must not exist
}

// Op is a put, or a deletion, of one key.
type Op struct {
	Key    string
	Value  []byte
	Lease  LeaseID
	Delete bool
}

// Txn is a transaction of at most MaxTxnOps conditions and operations, no key changed twice.
type Txn struct {
	If   []Cond
	Then []Op
}

// TxnResult answers a Txn.
type TxnResult struct {
	Done     bool  // the conditions held
	Revision int64 // of the change when Done, else the store's
}

// Event is one change of a key.
type Event struct {
	KV      // Value and Lease are empty for a deletion; ModRevision is the revision of the change
	Deleted bool
}
