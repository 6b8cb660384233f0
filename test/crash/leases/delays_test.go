package leases

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// delayed are messages that are to enter a queue later, with what was answered of them.
type delayed struct {
	w        *world
	q        *shared
	due      map[string]time.Time // the earliest that it may be; of messages that may be there
	accepted map[string]bool
	order    []string // of those that were sent
}

func (w *world) delayed(q *shared) *delayed {
	return &delayed{w: w, q: q, due: map[string]time.Time{}, accepted: map[string]bool{}}
}

// send hands over a message that is due after d.
func (d *delayed) send(name string, after time.Duration) {
	value := strconv.Quote(name)
	d.due[value] = time.Now().Add(after)
	d.order = append(d.order, value)
	if d.w.send(d.q, queue.Message{Body: json.RawMessage(value), Delay: after}) == nil {
		d.accepted[value] = true
	}
}

// waiting is how many messages wait to enter the queue.
func (d *delayed) waiting() int64 {
	d.w.t.Helper()
	return d.w.Count(d.q.topic).Delayed
}

// entered waits until nothing waits any more, and checks that what is there came once, after it was due and in order of that.
func (d *delayed) entered() map[string]bool {
	t := d.w.t
	t.Helper()
	d.w.eventually("the last delayed message", func() bool { return d.waiting() == 0 })
	there, latest := map[string]bool{}, int64(0)
	for _, e := range d.w.Read(d.q.name) {
		at, known := d.due[e.Value]
		if !known {
			continue // sent at once
		}
		require.False(t, there[e.Value], "%s entered twice", e.Value)
		there[e.Value] = true
		due, err := strconv.ParseInt(e.Header[private.DueHeader], 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, due, at.UnixMilli(), "it was due after its delay")
		require.GreaterOrEqual(t, e.At.UnixMilli(), due, "%s entered early", e.Value)
		require.GreaterOrEqual(t, due, latest, "%s entered out of order", e.Value)
		latest = due
	}
	return there
}

// all is that all that was accepted entered.
func (d *delayed) all() {
	d.w.t.Helper()
	there := d.entered()
	for value := range d.accepted {
		require.True(d.w.t, there[value], "%s was accepted, and lost", value)
	}
}

// TestRule2ADelayedMessageEntersOnce goes from the service to the consumer: what was accepted enters when it is due and is delivered
// once, through a power cut anywhere between acceptance, intent, copy and settlement.
func TestRule2ADelayedMessageEntersOnce(t *testing.T) {
	cutAtSyncs(t, 6, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders", Mode: queue.FIFO})
		d := w.delayed(q)
		d.send("long ago", 20*time.Millisecond)
		d.all()
		run = func() {
			d.send("late", 20*time.Second)
			d.send("soon", 50*time.Millisecond)
			_ = w.send(q, text(1))
			d.send("sooner", 30*time.Millisecond)
			time.Sleep(200 * time.Millisecond)
		}
		return run, func() {
			d.all()
			there := len(w.Read(q.name))
			ctx, cancel := w.ctx()
			defer cancel()
			seen := map[string]bool{}
			for len(seen) < there {
				got, err := w.queues.Receive(ctx, project, q.id, q.group, queue.Receive{Max: 10, Wait: 3 * time.Second, AckWait: time.Minute})
				require.NoError(t, err)
				require.NotEmpty(t, got)
				for _, m := range got {
					require.False(t, seen[string(m.Body)])
					seen[string(m.Body)] = true
					_, err = w.queues.Ack(ctx, project, q.id, q.group, false, []queue.Ack{{Handle: m.Handle, Success: true}})
					require.NoError(t, err)
				}
			}
			require.Equal(t, private.GroupCount{Group: q.group, Accepted: int64(there)}, w.count(q))
		}
	})
}

// TestRule3APurgeCancelsWhatIsDelayed: after a purge that was answered nothing of before it enters, and a cut one cancels some or
// none; another queue's delayed messages are not touched.
func TestRule3APurgeCancelsWhatIsDelayed(t *testing.T) {
	cutAtSyncs(t, 2, func(w *world) (run, check func()) {
		q, other := w.queue(queue.NewQueue{Name: "orders"}), w.queue(queue.NewQueue{Name: "others"})
		d, od := w.delayed(q), w.delayed(other)
		for i := range 3 {
			d.send(fmt.Sprint("before ", i), time.Duration(5+i)*time.Second)
			od.send(fmt.Sprint("other ", i), time.Duration(5+i)*time.Second)
		}
		d.send("just now", time.Millisecond)
		purged := false
		run = func() {
			ctx, cancel := w.ctx()
			defer cancel()
			purged = w.queues.Purge(ctx, project, q.id) == nil
			if purged {
				d.send("after", 6*time.Second)
			}
		}
		return run, func() {
			there := d.entered()
			if purged {
				for value := range there {
					require.Equal(t, `"after"`, value, "it was cancelled")
				}
				require.True(t, !d.accepted[`"after"`] || there[`"after"`])
			}
			od.all()
			require.Len(t, od.accepted, 3)
		}
	})
}
