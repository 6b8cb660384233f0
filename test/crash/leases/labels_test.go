package leases

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// rule is a group's label rule as its queue's document has it; nil: it has none.
func (w *world) rule(q *shared) []string {
	w.t.Helper()
	resp, err := ask[*private.ReadDocumentsResponse](w, &private.ReadDocumentsRequest{Kind: private.KindQueues, Name: project + "/" + q.id})
	require.NoError(w.t, err)
	require.Len(w.t, resp.Documents, 1)
	var doc struct {
		Groups []struct {
			Rule *struct{ Labels []string }
		}
	}
	require.NoError(w.t, json.Unmarshal(resp.Documents[0].Value, &doc))
	if r := doc.Groups[0].Rule; r != nil {
		return r.Labels
	}
	return nil
}

// TestRule4TheLabelRuleIsFixedFirst: two consumers with different labels are the first of a group. Whatever is cut, the rule is in
// the document before a record is taken or filtered by it, one of them is refused for ever, and no record is filtered by the other's.
func TestRule4TheLabelRuleIsFixedFirst(t *testing.T) {
	s := func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		for _, m := range []queue.Message{{Labels: []string{"us"}}, {Labels: []string{"eu"}}, {}, {Labels: []string{"eu", "us"}}, {Labels: []string{"eu"}}, {Labels: []string{"us"}}} {
			m.Body = json.RawMessage(`0`)
			require.NoError(w.t, w.send(q, m))
		}
		matching := map[string]int{"eu": 3, "us": 3}
		receive := func(label string) ([]queue.Received, error) {
			ctx, cancel := w.ctx()
			defer cancel()
			return w.queues.Receive(ctx, project, q.id, q.group, queue.Receive{Max: 1, Wait: time.Second, AckWait: 20 * time.Second, Labels: []string{label}})
		}
		var mu sync.Mutex
		answered := map[string]bool{}
		run = func() {
			var all sync.WaitGroup
			for label := range matching {
				all.Go(func() {
					for range 2 {
						if got, err := receive(label); err == nil && len(got) > 0 {
							mu.Lock()
							answered[label] = true
							mu.Unlock()
						}
					}
				})
			}
			all.Wait()
		}
		return run, func() {
			require.LessOrEqual(t, len(answered), 1, "one of them is refused")
			rule := w.rule(q)
			if n := w.count(q); rule == nil {
				require.Zero(t, n.Filtered, "filtered by a rule that is not there")
				require.Zero(t, n.InFlight)
				require.Empty(t, answered)
				rule = []string{"eu"}
			}
			for label := range answered {
				require.Equal(t, []string{label}, rule)
			}
			got := 0
			for n := w.count(q); n.Available > 0; n = w.count(q) {
				var messages []queue.Received
				w.Patiently(func() (err error) {
					messages, err = receive(rule[0])
					return err
				})
				for _, m := range messages {
					require.Contains(t, m.Labels, rule[0])
					ctx, cancel := w.ctx()
					_, err := w.queues.Ack(ctx, project, q.id, q.group, false, []queue.Ack{{Handle: m.Handle, Success: true}})
					cancel()
					require.NoError(t, err)
					got++
				}
				time.Sleep(time.Second)
			}
			require.Equal(t, matching[rule[0]], got, "all that match, and the others never")
			require.Equal(t, private.GroupCount{Group: q.group, Accepted: 3, Filtered: 3}, w.count(q))
			require.Equal(t, rule, w.rule(q))
			for label := range matching {
				_, err := receive(label)
				var refused *queue.Error
				if label == rule[0] {
					require.NoError(t, err)
				} else {
					require.True(t, errors.As(err, &refused), "%v", err)
					require.Equal(t, queue.CodeConsume, refused.Code)
				}
			}
		}
	}
	t.Run("syncs", func(t *testing.T) { cutAtSyncs(t, 2, s) })
	t.Run("transactions", func(t *testing.T) { cutAtTransactions(t, 1, s) })
}
