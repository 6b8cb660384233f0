package leases

import (
	"sync"
	"time"
)

// Door is how a consumer reaches its group.
type Door string

// The doors.
const (
	HTTP  Door = "http"  // leases of their own, one for each request
	Kafka Door = "kafka" // share sessions: the holder is the member
)

// Group is what a group promises.
type Group struct {
	Name          string
	Durable       bool // leases survive the broker
	Ordered       bool
	FailureLimit  int                              // 0: none
	DeliveryLimit int                              // 0: none
	DeadLetters   bool                             // what reaches a limit is copied
	Backoff       func(failures int) time.Duration // nil: none
	Labels        []string                         // of its rule; none: all messages
	AllLabels     bool
	// Unseen says that clients may take records and give them back without telling: a delivery count may jump.
	Unseen bool
}

// Place is where a message lies in its queue.
type Place struct {
	Partition int32
	Offset    int64
}

// Send is a message that was handed to the broker.
type Send struct {
	Value    string
	Labels   []string
	Due      time.Time // zero: at once
	Accepted bool      // false: nobody knows
}

// Logged is a message in the queue's log, read when all is over.
type Logged struct {
	Place
	Value string
	At    time.Time // the log's own time
}

// DeadLetter is a copy among a group's dead letters, read when all is over.
type DeadLetter struct {
	Group string
	Value string
	At    time.Time
}

// Span is when something happened, as far as that is known: not before From, not after To.
type Span struct{ From, To time.Time }

// Exactly is a Span that is known.
func Exactly(t time.Time) Span { return Span{t, t} }

// Taken is a record that was handed out.
type Taken struct {
	Place
	Value    string
	Delivery int // 0: not told
	Failures int // of deliveries before; -1: not told
}

// Take is a request that was answered with records.
type Take struct {
	Group, Holder string
	Door          Door
	Request       Span // from when it left until its answer came
	Granted       Span // within Request
	Until         Span // when the lease ends
	Records       []Taken
}

// Lost is a request for records that had no answer, or none that tells: it may have taken some.
type Lost struct {
	Group   string
	Request Span
	Until   time.Time // the latest that a lease of it may end
}

// Action is what a holder says of a record.
type Action int8

// The actions, with the numbers of protocol/private.
const (
	Accept Action = iota + 1
	Release
	Reject
	Renew
	Fail
	Bury
)

// final tells whether nothing may happen to the record after it.
func (a Action) final() bool { return a == Accept || a == Reject || a == Bury }

// Outcome is what became of a request.
type Outcome int8

// The outcomes.
const (
	Unknown Outcome = iota // no answer, or an error that may come after the fact
	Done
	Refused // the records are not held as the request said: nothing was changed
)

// Said is an action for a record.
type Said struct {
	Place
	Value  string
	Action Action
}

// Settle is a request that says what became of records. Records are all that it is about, not only those that it names.
type Settle struct {
	Group, Holder string
	Door          Door
	Request       Span
	Outcome       Outcome
	Until         Span // of renewals
	Records       []Said
}

// Close is the end of a member's session: what it holds is given back, from At on.
type Close struct {
	Group, Holder string
	At            time.Time
}

// Count is a group's counters at a time when nothing was on its way. -1: not told.
type Count struct {
	Group                                               string
	At                                                  time.Time
	Records                                             int64 // in the queue
	Available, InFlight                                 int64
	Accepted, Rejected, DeadLettered, Filtered, Skipped int64
}

// History is all that is known of one queue.
type History struct {
	Groups      []Group
	Sends       []Send
	Logged      []Logged
	Takes       []Take
	Lost        []Lost
	Settles     []Settle
	Closes      []Close
	Deaths      []time.Time // a broker was alive until then
	DeadLetters []DeadLetter
	Counts      []Count
	// Drained says that in the end every group was read, without disturbance, until nothing was left.
	Drained bool
}

// Recorder gathers a History. Its methods may be called from any goroutine.
type Recorder struct {
	mu sync.Mutex
	h  History // guarded by mu
}

// Note changes the history under the recorder's lock.
func (r *Recorder) Note(change func(h *History)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.h)
}

// Take notes a request that was answered with records; one without any says nothing.
func (r *Recorder) Take(t Take) {
	if len(t.Records) > 0 {
		r.Note(func(h *History) { h.Takes = append(h.Takes, t) })
	}
}

// Settle notes what was said of records.
func (r *Recorder) Settle(s Settle) {
	if len(s.Records) > 0 {
		r.Note(func(h *History) { h.Settles = append(h.Settles, s) })
	}
}

// Lost notes a request for records without an answer.
func (r *Recorder) Lost(l Lost) { r.Note(func(h *History) { h.Lost = append(h.Lost, l) }) }

// Close notes the end of a session.
func (r *Recorder) Close(c Close) { r.Note(func(h *History) { h.Closes = append(h.Closes, c) }) }

// Death notes the end of a broker.
func (r *Recorder) Death(t time.Time) { r.Note(func(h *History) { h.Deaths = append(h.Deaths, t) }) }

// History is what was noted. Nothing may be noted any more.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.h
}

// Walk is what a request that goes in order (DMS reference 9.3) comes to: it goes over what the lease holds, by offset, and stops
// at the first record that it does not accept; behind one that failed all are given back. held are the records, said what the
// request names.
func Walk(held []Taken, said map[int64]Action) (out []Said) {
	stopped, failed := false, false
	for _, t := range held {
		a, named := said[t.Offset]
		switch {
		case failed:
			out = append(out, Said{t.Place, t.Value, Release})
		case !named:
			stopped = true
		case !stopped:
			out = append(out, Said{t.Place, t.Value, a})
			failed, stopped = a == Fail, a != Accept
		}
	}
	return out
}
