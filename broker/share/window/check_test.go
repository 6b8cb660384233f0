package window

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// compare asserts that window and model are the same, and the window's own invariants.
func (h *history) compare() {
	h.t.Helper()
	check(h.t, h.w)
	if h.w.Start() != h.m.start || h.w.End() != h.m.end {
		h.fail("from %d to %d, want %d to %d", h.w.Start(), h.w.End(), h.m.start, h.m.end)
	}
	var inFlight, complete int64
	for o, m := range h.m.recs {
		r := h.w.find(o)
		got, want := at(r.batch()), m.Batch
		if m.State.Final() {
			got, want = share.Batch{}, share.Batch{}
			complete++
		}
		if m.State == share.Acquired {
			inFlight++
		}
		if got != want || r.busy() != (m.c != nil) || r.state.Final() != m.State.Final() {
			h.fail("offset %d is %+v, want %+v", o, r, m)
		}
	}
	if h.w.InFlight() != inFlight || h.w.Complete() != complete {
		h.fail("in flight %d, complete %d, want %d and %d", h.w.InFlight(), h.w.Complete(), inFlight, complete)
	}
}

// check asserts what holds of every window: runs cover it without overlap, no two neighbours could be one, and each run stands in
// just the indexes it belongs to.
func check(t *testing.T, w *Window) {
	t.Helper()
	at := w.start
	sizes := map[*tree]int{}
	var last *run
	w.all.Ascend(func(r *run) bool {
		if r.first != at || r.last < r.first {
			t.Fatalf("run %+v where one begins at %d", r, at)
		}
		at = r.last + 1
		if last != nil && last.same(r) {
			t.Fatalf("%+v and %+v should be one", last, r)
		}
		last = r
		for _, x := range []struct {
			t    *tree
			want bool
		}{
			{w.free, r.is(share.Available) && r.until == 0},
			{w.closed, !r.state.Final() && r.state != share.Archiving && (r.busy() || r.state == share.Acquired || r.until > 0)},
			{w.letters, r.state == share.Archiving},
			{w.leases, r.is(share.Acquired)},
			{w.held, r.is(share.Acquired)},
			{w.backoffs, r.is(share.Available) && r.until > 0},
		} {
			found, ok := x.t.Get(r)
			if ok != x.want || ok && found != r {
				t.Fatalf("run %+v: in index %v, want %v", r, ok, x.want)
			}
			if ok {
				sizes[x.t]++
			}
		}
		return true
	})
	require.Equal(t, w.end, at)
	for _, x := range []*tree{w.free, w.closed, w.letters, w.leases, w.held, w.backoffs} {
		require.Equal(t, sizes[x], x.Len(), "left over in an index")
	}
	if r, ok := w.all.Min(); ok {
		require.False(t, r.state.Final(), "the first run is settled")
	}
	if r, ok := w.all.Max(); ok {
		require.False(t, r.virgin(), "the last run was never touched")
	}
}
