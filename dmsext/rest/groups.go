package rest

import (
	"net/http"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// mostGroups bounds a request. A queue may have fewer: that is the queue's to say.
const mostGroups = 10

// createGroups is POST groups (3.1): all of them or none.
func (x *exchange) createGroups() (int, error) {
	names, err := groupNames(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	made, err := x.server.queues.CreateGroups(x.r.Context(), x.project, x.queue, names)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.begin("groups", '[')
	for i := range made {
		a.open('{')
		a.text("id", made[i].ID)
		a.text("name", made[i].Name)
		a.close('}')
	}
	a.close(']').close('}')
	return http.StatusCreated, nil
}

func groupNames(in []byte) ([]string, error) {
	body, err := document(in)
	if err != nil {
		return nil, err
	}
	raws, given, err := body.list("groups", membersLimit)
	switch {
	case err != nil:
		return nil, err
	case !given || len(raws) == 0:
		return nil, shape("groups must be an array with at least one group")
	case len(raws) > mostGroups:
		return nil, refuse(queue.CodeTooManyGroups, "The request has %d groups, more than a queue can have.", len(raws))
	}
	groups, _, err := body.objects("groups", mostGroups)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		if names[i], _, err = g.text("name"); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// page is the part of a list that is asked for. Both values have to be valid, else all of it is given (D31).
type page struct{ size, current int }

func paged[T any](all []T, p page) []T {
	if p.size < 1 || p.current < 1 {
		return all
	}
	if p.current-1 > len(all)/p.size {
		return nil
	}
	from := min((p.current-1)*p.size, len(all))
	return all[from:min(len(all), from+min(p.size, len(all)))]
}

var groupKeys = []string{"include_deadletter", "include_messages_num", "page_size", "current_page"}

// listGroups is GET groups (3.2).
func (x *exchange) listGroups() (int, error) {
	deadLetters, counts := false, true
	var p page
	err := readQuery(x.r.URL.RawQuery, 0, groupKeys, func(at int, value string) (err error) {
		switch groupKeys[at] {
		case "include_deadletter":
			deadLetters, err = flag("include_deadletter", value)
		case "include_messages_num":
			counts, err = flag("include_messages_num", value)
		case "page_size":
			p.size, _ = decimal(value)
		case "current_page":
			p.current, _ = decimal(value)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	list, err := x.server.queues.Groups(x.r.Context(), x.project, x.queue, queue.GroupsQuery{Counts: counts})
	if err != nil {
		return 0, err
	}
	deadLetters = deadLetters && !list.Queue.Mode.Kafka()
	a := &x.answer
	a.open('{')
	a.text("queue_id", list.Queue.ID)
	a.text("queue_name", list.Queue.Name)
	if deadLetters {
		a.text("redrive_policy", policyOf(&list.Queue))
	}
	a.begin("groups", '[')
	groups := paged(list.Groups, p)
	for i := range groups {
		a.group(&groups[i], deadLetters)
	}
	a.close(']').close('}')
	return http.StatusOK, nil
}

// group appends a group. The last three of its counters are ours: what is leased is available too (D17), what the label
// rule passed over is not (D24).
func (a *answer) group(g *queue.Group, deadLetters bool) {
	a.open('{')
	a.text("id", g.ID)
	a.text("name", g.Name)
	a.integer("produced_messages", g.Produced)
	a.integer("consumed_messages", g.Consumed)
	a.integer("available_messages", g.Available)
	if deadLetters {
		a.integer("produced_deadletters", g.ProducedDeadLetters)
		a.integer("available_deadletters", g.AvailableDeadLetters)
	}
	a.integer("in_flight_messages", g.InFlight)
	a.integer("filtered_messages", g.Filtered)
	a.integer("skipped_messages", g.Skipped)
	a.close('}')
}

// deleteGroup is DELETE groups/{group_id} (3.3).
func (x *exchange) deleteGroup() (int, error) {
	return http.StatusNoContent, x.server.queues.DeleteGroup(x.r.Context(), x.project, x.queue, x.group)
}
