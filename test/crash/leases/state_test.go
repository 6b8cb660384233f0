package leases

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// TestCoordinatorRule5SnapshotsAndPruning: a share partition's updates are replaced by snapshots again and again, and what these
// replace is deleted while acquisitions and acknowledgements go on. Whatever of it is cut, the state is what was answered.
func TestCoordinatorRule5SnapshotsAndPruning(t *testing.T) {
	cutAtSyncs(t, 12, func(w *world) (run, check func()) {
		q, other := w.queue(queue.NewQueue{Name: "orders"}), w.queue(queue.NewQueue{Name: "others"})
		w.fill(q, 14)
		w.fill(other, 3)
		l, ol := w.ledger(q, 14), w.ledger(other, 3)
		_, _ = ol.lease("idle", 2, 30*time.Second, 0) // its state is old, and needed
		run = func() {
			for i := range int64(4) {
				got, err := l.lease("a", 3, 30*time.Second, 0)
				if err != nil || len(got) < 3 {
					return
				}
				_ = l.settle("a", private.Accept, 0, got[0].Offset)
				if i%2 == 0 {
					_ = l.settle("a", private.Fail, 0, got[1].Offset)
				}
				time.Sleep(150 * time.Millisecond)
			}
			time.Sleep(time.Second)
			if !w.Disk().IsCut() {
				require.Positive(w.t, w.Pruned(), "nothing was pruned: this script has lost its point")
			}
		}
		return run, func() {
			l.afterwards()
			ol.afterwards()
		}
	})
}
