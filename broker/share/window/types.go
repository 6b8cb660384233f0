package window

import (
	"errors"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// ErrState says that a record is not held as the caller said: it is free, settled, in an uncommitted change, its lease has
// ended, someone else holds it or it was delivered again since. Nothing was changed. Kafka answers INVALID_RECORD_STATE.
var ErrState = errors.New("record is not held")

// ErrRange says that an action names no range (its first offset behind its last), offsets at or behind End, or an unknown
// kind. Nothing was changed. Kafka answers INVALID_REQUEST.
var ErrRange = errors.New("no such range in the window")

// Span is the offsets from First to Last, both included.
type Span struct{ First, Last int64 }

// Len is the number of offsets.
func (s Span) Len() int64 { return s.Last - s.First + 1 }

// Limits are the group's settings as of now; they may differ from call to call.
type Limits struct {
	// MaxRecords bounds the offsets from Start to End that are not settled: with that many, no new record is acquired, though
	// those that came back still are. 0: no bound.
	MaxRecords   int
	CountSettled bool                               // settled offsets from Start to End count towards MaxRecords too, as in Kafka
	Deliveries   int                                // Kafka's limit of deliveries; 0: none
	Failures     int                                // limit of failed deliveries; 0: none. At most one of both limits is set
	Ordered      bool                               // nothing is acquired past a record that is neither final nor Archiving
	DeadLetter   bool                               // at a limit: Archiving, so that a copy can be made, instead of Archived
	Backoff      func(failures int32) time.Duration // of a record that failed that often, from 1; nil or 0: free at once
	Durable      bool                               // acquisitions and renewals are persisted before they count
}

// Acquire asks for records.
type Acquire struct {
	Now, Until time.Time // Until: when the lease ends
	Holder     string
	// Read is what was read of the log, beginning at what Next said or at a span of Free. Batches are the record batches in it,
	// by offset, reaching over its ends or not. An offset of Read in none of them holds no record, now or ever (compaction,
	// control records, aborted transactions), and is settled at once.
	Read    Span
	Batches []Span
	// Want are, by offset, the records that may be taken; nil: all. Filtered are, by offset, records to settle without a
	// delivery because the group does not want them. What is in neither is left as it is; an ordered window stops there.
	Want, Filtered []Span
	// MaxRecords is reached exactly (Strict), or by the last of the whole batches that reach or pass it.
	MaxRecords int
	Strict     bool
}

// Grant is a run of records that were acquired, or are held. Deliveries has this one included and saturates at 32,767; Failures
// are those before it.
type Grant struct {
	First, Last int64
	Deliveries  int16
	Failures    int32
}

// Kind is what a holder says of records, with the numbers of Kafka's acknowledgement types and of protocol/private.
type Kind int8

// The kinds. Gap, Accept and Reject are final.
const (
	Gap        Kind = 0 // there is no such record: archived as by Reject (KIP-932), but not counted
	Accept     Kind = 1
	Release    Kind = 2 // give back: free at once. No failure, but the delivery counts
	Reject     Kind = 3
	Renew      Kind = 4 // the lease ends at Until instead (KIP-1222)
	Fail       Kind = 5 // give back as failed: back-off and the limit of failures apply
	DeadLetter Kind = 6 // Archiving, whatever the limits say
)

// Action is one Kind for a range of records.
type Action struct {
	First, Last int64
	Kind        Kind
	Delivery    int32     // the delivery the holder means; 0: not said
	Until       time.Time // Renew
	Force       bool      // whoever holds them, ended leases that were not yet expired included
}

// Change is what must be persisted. Its offsets are busy: nobody can acquire, settle or expire them until it went to Commit
// (it is durable) or Rollback (it is not, and never will be), so that changes in flight at one time are disjoint and may end in
// any order. It must go to exactly one of both, once.
type Change struct {
	Batches []share.Batch  // by offset, disjoint
	Add     share.Counters // to what is kept
	Start   int64          // of the window when the change was made; raises what is kept
	// DeadLetters are those Batches that become Archiving by this change. SetIntent may give them their intents before the
	// change is persisted; Window.Intend does it later.
	DeadLetters []share.Batch

	gaps []Span         // among Batches: offsets without a record, which were settled before the change
	owed share.Counters // among Add: what another change has to say if this one is rolled back
}

// SetIntent gives one of c.DeadLetters its intent, there and in Batches. Call it before c is persisted. A span that is not
// one of them as a whole: ErrRange.
func (c *Change) SetIntent(s Span, in *share.Intent) error {
	if !setIntent(c.DeadLetters, s, in) || !setIntent(c.Batches, s, in) {
		return ErrRange
	}
	return nil
}

func setIntent(bs []share.Batch, s Span, in *share.Intent) bool {
	for i := range bs {
		if b := &bs[i]; b.State == share.Archiving && b.First == s.First && b.Last == s.Last {
			b.Intent = in
			return true
		}
	}
	return false
}
