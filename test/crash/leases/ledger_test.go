package leases

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// ledger is what the consumers of a group were told of its records. What they see later is held against it as it comes.
type ledger struct {
	w *world
	q *shared

	mu      sync.Mutex
	records []told // by offset
	faults  []error
}

// told is what is known of a record.
type told struct {
	holder   string // of the last lease that was answered; "": nobody's
	until    time.Time
	delivery int32
	last     int32 // failures that the last delivery told of

	failed   int // failures since then that were answered
	released bool
	accepted bool
	unknown  []private.Action // actions that were not answered, since the last delivery

	strays    int       // leases without an answer that may have taken it
	strayEnds time.Time // the latest of them ends then
}

func (w *world) ledger(q *shared, n int) *ledger {
	return &ledger{w: w, q: q, records: make([]told, n)}
}

func (l *ledger) faultf(format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf("%v: "+format, append([]any{time.Now().Format("05.000")}, args...)...))
}

// lease takes up to n records for a holder, and holds what comes against what is known.
func (l *ledger) lease(holder string, n int32, lease, wait time.Duration) ([]private.LeasedRecord, error) {
	begin := time.Now()
	resp, err := ask[*private.LeaseResponse](l.w, &private.LeaseRequest{Group: l.q.group, TopicID: l.q.topic, Partition: -1, Holder: holder, MaxRecords: n,
		MaxBytes: 1 << 20, LeaseMillis: int32(lease.Milliseconds()), MaxWaitMillis: int32(wait.Milliseconds())})
	if err == nil {
		err = simulation.Refusal(resp.ErrorCode, resp.ErrorMessage)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		for i := range l.records {
			if r := &l.records[i]; !r.accepted {
				r.strays++
				r.strayEnds = time.Now().Add(lease)
			}
		}
		return nil, err
	}
	for _, rec := range resp.Records {
		l.delivered(holder, begin, time.UnixMilli(resp.UntilMillis), &rec)
	}
	return resp.Records, nil
}

// delivered judges a record that a holder was given at some time after begin.
func (l *ledger) delivered(holder string, begin, until time.Time, rec *private.LeasedRecord) {
	r := &l.records[rec.Offset]
	now := time.Now()
	ended := r.holder == "" || !now.Before(r.until)
	low, high := r.last, r.last
	if r.delivery > 0 {
		low, high = low+int32(r.failed), high+int32(r.failed)
		switch {
		case r.failed > 0 || r.released:
		case len(r.unknown) > 0:
			high++
			if ended && r.unknown[0] == private.Fail {
				low++ // it failed, or ran out
			}
		case ended:
			low, high = low+1, high+1 // it ran out
		}
	}
	switch {
	case r.accepted:
		l.faultf("%d is given to %s although it was accepted", rec.Offset, holder)
	case !ended && len(r.unknown) == 0:
		l.faultf("%d is given to %s while %s holds it until %v", rec.Offset, holder, r.holder, r.until.Format("05.000"))
	case rec.Deliveries <= r.delivery || rec.Deliveries > r.delivery+1+int32(r.strays):
		l.faultf("%d has its delivery %d after %d, with %d requests in between that were not answered", rec.Offset, rec.Deliveries, r.delivery, r.strays)
	case rec.Failures < low || rec.Failures > high+int32(r.strays):
		l.faultf("%d has failed %d times, and not %d to %d", rec.Offset, rec.Failures, low, high+int32(r.strays))
	case string(rec.Value) != fmt.Sprint(rec.Offset):
		l.faultf("%d holds %q", rec.Offset, rec.Value)
	}
	*r = told{holder: holder, until: until, delivery: rec.Deliveries, last: rec.Failures}
}

// settle says what became of records that a holder was given. What is not answered may have happened, or may yet.
func (l *ledger) settle(holder string, action private.Action, renew time.Duration, offsets ...int64) error {
	req := &private.SettleRequest{Group: l.q.group, TopicID: l.q.topic, RenewMillis: int32(renew.Milliseconds()), Leases: []private.SettledLease{{Holder: holder}}}
	begin, sure := time.Now(), true
	l.mu.Lock()
	meant := make([]int32, len(offsets)) // deliveries
	for i, o := range offsets {
		r := &l.records[o]
		sure = sure && r.holder == holder && len(r.unknown) == 0 && begin.Before(r.until)
		meant[i] = r.delivery
		r.unknown = append(r.unknown, action)
		req.Leases[0].Records = append(req.Leases[0].Records, private.SettledRecord{Offset: o, Action: action, Delivery: r.delivery})
	}
	l.mu.Unlock()
	resp, err := ask[*private.SettleResponse](l.w, req)
	if err == nil {
		err = simulation.Refusal(resp.ErrorCode, resp.ErrorMessage)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	refused := errors.Is(err, kerr.InvalidRecordState)
	if refused && sure {
		l.faultf("%s holds %v and cannot settle them: %v", holder, offsets, err)
	}
	if err != nil && !refused {
		return err
	}
	for i, o := range offsets {
		r := &l.records[o]
		if r.holder == holder && r.delivery == meant[i] {
			r.unknown = r.unknown[:len(r.unknown)-1]
		}
		if !refused {
			r.settled(holder, meant[i], action, begin.Add(renew))
		}
	}
	return err
}

// settled notes what was answered about one delivery.
func (r *told) settled(holder string, delivery int32, action private.Action, until time.Time) {
	switch current := r.holder == holder && r.delivery == delivery; {
	case action == private.Accept:
		r.accepted = true
	case !current: // somebody has it already
	case action == private.Release:
		r.released, r.holder = true, ""
	case action == private.Fail:
		r.failed, r.holder = r.failed+1, ""
	case action == private.Renew:
		r.until = until
	}
}

// check says what contradicted.
func (l *ledger) check() {
	l.w.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NoError(l.w.t, errors.Join(l.faults...))
}

// afterwards is what consumers do after a restart, until all is accepted: a stranger takes what is free, holders go on with what they
// hold, some of them fail to, and in the end everything has come back.
func (l *ledger) afterwards() {
	w := l.w
	w.t.Helper()
	take := func(holder string, lease, wait time.Duration) (got []private.LeasedRecord) {
		w.Patiently(func() (err error) {
			got, err = l.lease(holder, 100, lease, wait)
			return err
		})
		l.check()
		return got
	}
	accept := func(got []private.LeasedRecord, holder string) {
		for _, r := range got {
			w.Patiently(func() error { return l.settle(holder, private.Accept, 0, r.Offset) })
		}
	}
	accept(take("stranger", time.Minute, 0), "stranger")
	for i := range l.records {
		r := &l.records[i]
		if r.holder == "" || r.accepted || !time.Now().Before(r.until.Add(-time.Second)) {
			continue
		}
		switch i % 3 {
		case 0: // it is left to run out
		case 1:
			w.Patiently(func() error { return l.known(l.settle(r.holder, private.Accept, 0, int64(i))) })
		case 2:
			w.Patiently(func() error { return l.known(l.settle(r.holder, private.Renew, 50*time.Second, int64(i))) })
		}
	}
	l.check()
	for range 2 * len(l.records) {
		if w.count(l.q).Available == 0 {
			break
		}
		accept(take("last", 10*time.Second, simulation.Patience-time.Second), "last")
	}
	n := w.count(l.q)
	require.Zero(w.t, n.Available, "nothing vanishes and nothing is stuck")
	require.Zero(w.t, n.InFlight)
	require.EqualValues(w.t, len(l.records), n.Accepted)
	require.Empty(w.t, take("nobody", time.Second, 0))
	l.check()
}

// known is the error without a refusal, which the ledger has judged.
func (l *ledger) known(err error) error {
	if errors.Is(err, kerr.InvalidRecordState) {
		return nil
	}
	return err
}
