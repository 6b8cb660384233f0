package runtime

import "time"

// Record is what a decision writes: key and value in the coordinator's own encoding. A nil
// value is a tombstone.
type Record struct {
	Key, Value []byte
}

// Entry is a record in the log.
type Entry struct {
	Record
	Offset        int64
	ProducerID    int64 // -1 when the batch has none
	ProducerEpoch int16
	Transactional bool
	Marker        *Marker // the record ends its producer's transaction; Key and Value are nil
}

// Marker ends a transaction.
type Marker struct {
	Commit           bool
	CoordinatorEpoch int32
}

// Machine is one shard's state in memory. All its methods are called under the shard's
// lock, and none may block.
type Machine interface {
	// Restore builds the state from the table, which then holds all the log does, and
	// schedules the timers that go with it.
	Restore(tx *Tx) error
	// Fire decides what a timer that is due asks for.
	Fire(v View, t Timer) Outcome
	// Abandon ends the shard's life: every reply that the machine holds back is handed
	// over with tx.Reply, and the runtime fails it.
	Abandon(tx *Tx)
}

// Outcome is what was decided. The zero Outcome does nothing.
type Outcome struct {
	// Records are appended as one batch: all of them are in the log or none is.
	Records []Record
	// Reply is called once, outside every lock: with nil when all that the decision saw and
	// wrote is committed, otherwise with the reason (an Err of this package, wrapped).
	Reply func(error)
	// Then changes the memory after Records are in the log, or at once if there are none.
	Then func(*Tx)
	// Refused is called instead of Then when the log refused Records; Reply gets err too.
	Refused func(tx *Tx, err error)
}

// Timer names a timer of a shard: what it is for and whose it is.
type Timer struct {
	Kind    uint8
	Of, Who string
}

// Reader reads rows. Slices handed out are valid until the call returns (Scan) or for good
// (Get), and must not be changed.
type Reader interface {
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls fn for the rows whose key begins with prefix, in order of their keys, from
	// the key from on (nil: from the first), until fn answers false.
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
}

// Writer receives the rows of an entry. Scan sees what was written before.
type Writer interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
}

// View is what a decision may look at.
type View interface {
	// Reader reads the live table: what is committed, and on top what is only appended.
	Reader
	// Now is the time of the decision.
	Now() time.Time
}

// Tx is the hand of the runtime inside one operation, under the shard's lock. It must not
// be kept.
type Tx struct {
	now     time.Time
	table   Reader
	clock   clock
	replies []func(error)
}

// clock is the part of a shard that schedules.
type clock interface {
	scheduleLocked(t Timer, at time.Time)
	cancelLocked(t Timer)
}

// Now is the time of the operation.
func (tx *Tx) Now() time.Time { return tx.now }

// Get reads a row of the live table.
func (tx *Tx) Get(key []byte) ([]byte, bool, error) { return tx.table.Get(key) }

// Scan reads rows of the live table.
func (tx *Tx) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	return tx.table.Scan(prefix, from, fn)
}

// Reply has fn called like Outcome.Reply: with nil when all that was appended until now is
// committed. It is how an operation answers others that were held back.
func (tx *Tx) Reply(fn func(error)) { tx.replies = append(tx.replies, fn) }

// Schedule has Machine.Fire called for t, once, at the time at or soon after. A timer of the
// same name is replaced.
func (tx *Tx) Schedule(t Timer, at time.Time) { tx.clock.scheduleLocked(t, at) }

// Cancel takes back a timer; one that does not exist is fine.
func (tx *Tx) Cancel(t Timer) { tx.clock.cancelLocked(t) }
