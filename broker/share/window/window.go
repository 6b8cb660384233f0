// Package window is one share partition's window over its log as a pure data structure: which offsets are free, held, settled or
// on their way to the dead letters.
package window

import (
	"errors"
	"iter"
	"math"
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
	MaxRecords int                                // in the window: from how many no new record is acquired; 0: no limit
	Deliveries int                                // Kafka's limit of deliveries; 0: none
	Failures   int                                // limit of failed deliveries; 0: none. At most one of both limits is set
	Ordered    bool                               // nothing is acquired past a record that is neither final nor Archiving
	DeadLetter bool                               // at a limit: Archiving, so that a copy can be made, instead of Archived
	Backoff    func(failures int32) time.Duration // of a record that failed that often, from 1; nil or 0: free at once
	Durable    bool                               // acquisitions and renewals are persisted before they count
}

// Acquire asks for records.
type Acquire struct {
	Now, Until time.Time // Until: when the lease ends
	Holder     string
	// Read is what was read of the log, beginning at or below what Next said; Batches are the record batches in it, by offset,
	// reaching over its ends or not. An offset of Read in none of them holds no record, now or ever, and is settled at once.
	Read    Span
	Batches []Span
	// Want are, by offset, the records that may be taken; nil: all. Filtered are, by offset, records to settle without a
	// delivery because the group does not want them. What is in neither is left as it is.
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
	Gap        Kind = 0 // there is no such record: settled as Reject is, but not counted
	Accept     Kind = 1
	Release    Kind = 2 // give back: free at once. No failure, but the delivery counts
	Reject     Kind = 3
	Renew      Kind = 4 // the lease ends at Until instead
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
// any order. It must go to exactly one of both.
type Change struct {
	Batches []share.Batch  // by offset, disjoint
	Add     share.Counters // to what is kept
	Start   int64          // of the window when the change was made; raises what is kept
	// DeadLetters are the Batches that become Archiving by this change. SetIntent may give them their intents before the
	// change is persisted; Window.Intend does it later.
	DeadLetters []share.Batch

	owed share.Counters // part of Add that has to be said by another change if this one is rolled back
}

// SetIntent gives one of c.DeadLetters its intent, in Batches and DeadLetters. Call it before c is persisted. s must be one of
// them as a whole: ErrRange.
func (c *Change) SetIntent(s Span, in *share.Intent) error { panic("soon") }

// Window is one share partition's window. The zero value is not ready: see New. Not safe for concurrent use.
type Window struct{}

// New is the window of what is kept. start is where the group begins if s has no Start. Leases that were kept go on: their
// holders may settle until they end; those that ended by now are failures like any other and come out of the first Expire,
// which therefore is to be called before anything else. The caller adds a margin to kept deadlines for the difference of
// clocks.
func New(s share.Stored, start int64, now time.Time) *Window { panic("soon") }

// Start is the first offset that is not settled.
func (w *Window) Start() int64 { panic("soon") }

// End is behind the last offset that was ever acquired or settled: from there on everything is free.
func (w *Window) End() int64 { panic("soon") }

// InFlight is how many offsets are acquired.
func (w *Window) InFlight() int64 { panic("soon") }

// Complete is how many offsets at and above Start are settled (KIP-1226's delivery complete count).
func (w *Window) Complete() int64 { panic("soon") }

// Next is the lowest offset that may be acquired now, to read the log from: End if that is all there is. False: nothing may
// be acquired now, because of the order or because the window is full.
func (w *Window) Next(now time.Time, l Limits) (from int64, ok bool) { panic("soon") }

// Free is what may be acquired now from an offset on, by offset; the last one ends at math.MaxInt64 if new records may be acquired.
// The window must not be changed meanwhile.
func (w *Window) Free(from int64, now time.Time, l Limits) iter.Seq[Span] { panic("soon") }

// Acquire takes records that are free. The grants of a durable window may leave only when the change is committed, and are void
// when it is rolled back; otherwise they hold at once, and a change, if any, only says what was filtered. A nil change: there is
// nothing to persist.
func (w *Window) Acquire(a Acquire, l Limits) (granted []Grant, c *Change) { panic("soon") }

// Settle does all of the actions, or none of them and answers an error that wraps ErrState or ErrRange. Actions must not overlap.
// Offsets below Start were settled before and are passed over. A nil change: it is done, there is nothing to persist (Renew without
// Durable, or all below Start).
func (w *Window) Settle(holder string, actions []Action, now time.Time, l Limits) (*Change, error) {
	panic("soon")
}

// Held is what the holder holds from an offset on, by offset. What is in an uncommitted change is not among it. The window must not be
// changed meanwhile.
func (w *Window) Held(holder string, from int64) iter.Seq[Grant] { panic("soon") }

// ReleaseHolder gives back what the holder holds, as Release does: its session is closed. Acquisitions that are not committed yet
// are not among it: call it again then. Nil: it holds nothing.
func (w *Window) ReleaseHolder(holder string, now time.Time, l Limits) *Change { panic("soon") }

// Expire ends the leases and back-offs that are over by now. Nil: there is nothing to persist, although records may be free that
// were not.
func (w *Window) Expire(now time.Time, l Limits) *Change { panic("soon") }

// Deadline is when Expire is to be called next; zero: not before something else happens.
func (w *Window) Deadline() time.Time { panic("soon") }

// Commit says that the change is durable: what it says is so.
func (w *Window) Commit(c *Change, now time.Time) { panic("soon") }

// Rollback says that the change is not durable and never will be: what it says is not so. Leases that ended meanwhile are for the
// next Expire; a caller that got here from Expire waits a little before.
func (w *Window) Rollback(c *Change, now time.Time) { panic("soon") }

// AdvanceStart drops what is below the log's start, leases included; what was not settled counts as skipped. The change has no
// Batches and takes effect at once. Nil: there is nothing below.
func (w *Window) AdvanceStart(logStart int64, now time.Time) *Change { panic("soon") }

// DeadLetters is, by offset, what is Archiving and not part of an uncommitted change; those with an Intent have a copy under way,
// the others wait for one. The window must not be changed meanwhile.
func (w *Window) DeadLetters(from int64) iter.Seq[share.Batch] { panic("soon") }

// Intend gives Archiving records their intent, in place of the one they had; nil cancels it. s must lie within one range that
// DeadLetters names: ErrState.
func (w *Window) Intend(s Span, in *share.Intent) (*Change, error) { panic("soon") }

// Copied settles Archiving records whose copy stands. s must be Archiving and not busy as far as it is not below Start: ErrState. Nil without
// an error: all of it is below Start.
func (w *Window) Copied(s Span) (*Change, error) { panic("soon") }

// Abandon settles Archiving records that get no copy; they count as rejected. Errors as Copied.
func (w *Window) Abandon(s Span) (*Change, error) { panic("soon") }

// Ranges is all that is not settled from an offset up to End, by offset, as it is now: what is in an uncommitted change is as
// before it. The window must not be changed meanwhile.
func (w *Window) Ranges(from int64) iter.Seq[share.Batch] { panic("soon") }

const maxDeliveries = math.MaxInt16
