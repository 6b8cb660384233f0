package rest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

func TestLeasesAreListed(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range both(ofGroup + "/leases") {
		require.Equal(t, `{"leases":[],"more":false}`, w.do("GET", path+"?limit=&deadletters=", "").body)
	}
	require.Equal(t, 100, w.last.limit)
	require.False(t, w.last.dead)
	w.leases = []queue.Lease{
		{Partition: 2, First: 17, Last: 19, State: "leased", Holder: "abc", Until: time.UnixMilli(1893456000000), Deliveries: 3, Failures: 1},
		{First: 1, Last: 1, State: "dead-lettering", Until: time.UnixMilli(0), Deliveries: 5, Failures: 5},
	}
	a := w.do("GET", ofGroup+"/leases?deadletters=True&limit=1000", "")
	require.Equal(t, 200, a.status)
	require.Equal(t, `{"leases":[{"partition":2,"first_offset":17,"last_offset":19,"state":"leased","holder":"abc","until":1893456000000,"deliveries":3,"failures":1},`+
		`{"partition":0,"first_offset":1,"last_offset":1,"state":"dead-lettering","holder":null,"until":null,"deliveries":5,"failures":5}],"more":true}`, a.body)
	require.Equal(t, []any{project, queueID, groupID, true, 1000}, []any{w.last.project, w.last.queue, w.last.group, w.last.dead, w.last.limit})
}

func TestLeasesAreSettledAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	for body, want := range map[string]queue.ForcedSettle{
		`{"partition":0,"offset":0,"action":"release"}`:                                         {Action: queue.ReleaseLease},
		`{"partition":3,"offset":17,"action":"accept","deadletters":false}`:                     {Partition: 3, Offset: 17, Action: queue.AcceptLease},
		`{"action":"discard","deadletters":true,"offset":9223372036854775807,"partition":1e0}`:  {Partition: 1, Offset: math.MaxInt64, Action: queue.DiscardLease, DeadLetters: true},
		`{"partition":2147483647,"offset":1,"action":"dead\u002dletter","more":1,"offset":2.0}`: {Partition: math.MaxInt32, Offset: 2, Action: queue.DeadLetterLease},
	} {
		for _, path := range both(ofGroup + "/leases/settle") {
			a := w.do("POST", path, body)
			require.Equal(t, 204, a.status, a.body)
			require.Empty(t, a.body)
			require.Equal(t, want, w.last.settled, body)
		}
	}
	require.Equal(t, []string{project, queueID, groupID}, []string{w.last.project, w.last.queue, w.last.group})
}

func TestPurge(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range both(ofQueue + "/purge") {
		require.Equal(t, 204, w.do("POST", path, "").status)
		require.Equal(t, []string{project, queueID}, []string{w.last.project, w.last.queue})
		w.last.queue = ""
	}
	w.err = &queue.Error{Status: 404, Code: queue.CodeQueueNotFound, Message: "There is no such queue."}
	require.Equal(t, queue.CodeQueueNotFound, w.do("POST", ofQueue+"/purge", "").code(t))
}

// TestOurOwnCallsAreMarked holds the line between the DMS API and what was added to it.
func TestOurOwnCallsAreMarked(t *testing.T) {
	ours := []string{"purgeQueue", "listLeases", "settleLease"}
	for id, o := range readDescription(t).operations() {
		require.Equal(t, slices.Contains(ours, id), o.body["x-extension"] == true, id)
	}
}
