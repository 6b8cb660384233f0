package rest

import (
	"math"
	"net/http"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// What operators do with queues. None of these calls is the DMS service's: they are ours, and openapi.json says so.

// Bounds of a list of leases.
const (
	standardLeases = 100
	mostLeases     = 1000
)

// purge is POST queues/{queue_id}/purge.
func (x *exchange) purge() (int, error) {
	return http.StatusNoContent, x.server.queues.Purge(x.r.Context(), x.project, x.queue)
}

var leaseKeys = []string{"limit", "deadletters"}

// listLeases is GET leases.
func (x *exchange) listLeases() (int, error) {
	limit, deadLetters := standardLeases, false
	err := readQuery(x.r.URL.RawQuery, 0, leaseKeys, func(at int, value string) (err error) {
		switch leaseKeys[at] {
		case "limit":
			limit, err = within("limit", value, 1, mostLeases, queue.CodeQuery)
		case "deadletters":
			deadLetters, err = flag("deadletters", value)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	leases, more, err := x.server.queues.Leases(x.r.Context(), x.project, x.queue, x.group, deadLetters, limit)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.begin("leases", '[')
	for i := range leases {
		a.lease(&leases[i])
	}
	a.close(']')
	a.boolean("more", more)
	a.close('}')
	return http.StatusOK, nil
}

// lease appends a run of messages with one state.
func (a *answer) lease(l *queue.Lease) {
	a.open('{')
	a.integer("partition", int64(l.Partition))
	a.integer("first_offset", l.First)
	a.integer("last_offset", l.Last)
	a.text("state", l.State)
	if l.Holder == "" {
		a.null("holder")
	} else {
		a.text("holder", l.Holder)
	}
	if until := l.Until.UnixMilli(); until <= 0 {
		a.null("until")
	} else {
		a.integer("until", until)
	}
	a.integer("deliveries", int64(l.Deliveries))
	a.integer("failures", int64(l.Failures))
	a.close('}')
}

// settleLease is POST leases/settle.
func (x *exchange) settleLease() (int, error) {
	f, err := forcedSettle(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	return http.StatusNoContent, x.server.queues.SettleLease(x.r.Context(), x.project, x.queue, x.group, f)
}

// settleActions are the actions by their names.
var settleActions = map[string]queue.SettleAction{
	"release": queue.ReleaseLease, "accept": queue.AcceptLease, "discard": queue.DiscardLease, "dead-letter": queue.DeadLetterLease,
}

func forcedSettle(in []byte) (f queue.ForcedSettle, err error) {
	body, err := document(in)
	if err != nil {
		return f, err
	}
	partition, err := body.position("partition", math.MaxInt32)
	if err != nil {
		return f, err
	}
	f.Partition = int32(partition)
	if f.Offset, err = body.position("offset", math.MaxInt64); err != nil {
		return f, err
	}
	action, _, err := body.text("action")
	if err != nil {
		return f, err
	}
	if f.Action = settleActions[action]; f.Action == 0 {
		return f, shape("action must be release, accept, discard or dead-letter, not %q", clip(action))
	}
	if raw, given := body.get("deadletters"); given {
		if text := string(raw); text != "true" && text != "false" {
			return f, shape("deadletters must be true or false, not %s", clip(text))
		}
		f.DeadLetters = string(raw) == "true"
	}
	return f, nil
}

// position gives an integer member from 0 to most, which has to be there.
func (o object) position(name string, most int64) (int64, error) {
	raw, given := o.get(name)
	if !given {
		return 0, shape("%s is missing", name)
	}
	n, whole := integerOf(raw)
	if !whole || n < 0 || n > most {
		return 0, shape("%s must be an integer from 0 to %d, not %s", name, most, clip(string(raw)))
	}
	return n, nil
}
