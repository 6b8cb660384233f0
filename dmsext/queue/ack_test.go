package queue

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABatchIsAcknowledgedInItsOrderWhateverTheOrderOfTheRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		acks   func([]Received) []Ack
		result AckResult
		left   string // what is there to retrieve at once
	}{
		{"all", func(g []Received) []Ack { return handles(g, true, true, true, true) }, AckResult{4, 0}, ""},
		{"fail in the middle", func(g []Received) []Ack { return handles(g, true, false, true, true) }, AckResult{1, 3}, "2 3 4"},
		{"fail takes unmentioned later ones along", func(g []Received) []Ack { return handles(g, true, false) }, AckResult{1, 1}, "2 3 4"},
		{"unmentioned later ones stay leased", func(g []Received) []Ack { return handles(g, true, true) }, AckResult{2, 0}, ""},
		{"an unmentioned earlier one ends the walk", func(g []Received) []Ack { return []Ack{{g[0].Handle, true}, {g[2].Handle, true}} }, AckResult{1, 1}, ""},
		{"any order", func(g []Received) []Ack {
			return []Ack{{g[3].Handle, false}, {g[1].Handle, true}, {g[0].Handle, true}, {g[2].Handle, true}}
		}, AckResult{3, 1}, "4"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id, group := w.queue(NewQueue{})
			w.send(id, `1`, `2`, `3`, `4`)
			got := w.receive(id, group)
			require.Len(t, got, 4)
			result, err := w.Ack(w.ctx, project, id, group, false, c.acks(got))
			require.NoError(t, err, c.name)
			require.Equal(t, c.result, result, c.name)
			require.Equal(t, c.left, bodies(w.receive(id, group)), c.name)
		})
	}
}

func TestHandlesOfSeveralRetrievalsInOneRequest(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	var acks []Ack
	for range 3 {
		w.send(id, `1`, `2`)
		got := w.receive(id, group)
		acks = append(handles(got, true, true), acks...)
	}
	result, err := w.Ack(w.ctx, project, id, group, false, acks)
	require.NoError(t, err)
	require.Equal(t, AckResult{Success: 6}, result)
	list, err := w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
	require.NoError(t, err)
	require.Equal(t, []int64{6, 6, 0, 0}, []int64{list.Groups[0].Produced, list.Groups[0].Consumed, list.Groups[0].Available, list.Groups[0].InFlight})
}

func TestAWrongHandleRefusesTheRequestAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		more, err := w.CreateGroups(w.ctx, project, id, []string{"audit"})
		require.NoError(t, err)
		other, otherGroup := w.queue(NewQueue{Name: "other"})
		w.send(id, `1`, `2`)
		w.send(other, `3`)
		acknowledged := w.receive(id, group, func(r *Receive) { r.Max = 1 })
		_, err = w.Ack(w.ctx, project, id, group, false, handles(acknowledged, true))
		require.NoError(t, err)
		good := w.receive(id, group)
		require.Len(t, good, 1)
		ofGroup, ofQueue := w.receive(id, more[0].ID), w.receive(other, otherGroup)
		foreign := New(Options{Broker: newFake(t)})
		q, err := foreign.CreateQueue(w.ctx, project, NewQueue{Name: "a"})
		require.NoError(t, err)
		g, err := foreign.CreateGroups(w.ctx, project, q.ID, []string{"a"})
		require.NoError(t, err)
		_, err = foreign.Send(w.ctx, project, q.ID, []Message{{Body: []byte(`1`)}})
		require.NoError(t, err)
		forged, err := foreign.Receive(w.ctx, project, q.ID, g[0].ID, usual())
		require.NoError(t, err)

		for name, c := range map[string]struct {
			handle string
			code   int
		}{
			"no handle":             {"", CodeHandle},
			"nonsense":              {"eyJjZyI6", CodeHandle},
			"long":                  {strings.Repeat("A", 5000), CodeHandle},
			"of another service":    {forged[0].Handle, CodeHandle},
			"acknowledged":          {acknowledged[0].Handle, CodeHandle},
			"twice":                 {good[0].Handle, CodeHandle},
			"with something behind": {good[0].Handle + "A", CodeHandle},
			"of another group":      {ofGroup[0].Handle, CodeHandleElsewhere},
			"of another queue":      {ofQueue[0].Handle, CodeHandleElsewhere},
		} {
			_, err = w.Ack(w.ctx, project, id, group, false, []Ack{{good[0].Handle, true}, {c.handle, true}})
			require.Equal(t, c.code, code(t, err), name)
		}
		_, err = w.Ack(w.ctx, project, id, group, true, []Ack{{good[0].Handle, true}})
		require.Equal(t, CodeNoConsumer, code(t, err))
		_, err = w.Ack(w.ctx, project, id, group, false, nil)
		require.Equal(t, CodeFormat, code(t, err))

		result, err := w.Ack(w.ctx, project, id, group, false, []Ack{{good[0].Handle, true}})
		require.NoError(t, err, "it is still held")
		require.Equal(t, AckResult{Success: 1}, result)

		time.Sleep(31 * time.Second)
		_, err = w.Ack(w.ctx, project, other, otherGroup, false, []Ack{{ofQueue[0].Handle, true}})
		require.Equal(t, CodeHandle, code(t, err), "its time is over")
		again := w.receive(other, otherGroup)
		require.Equal(t, 2, again[0].Deliveries)
		_, err = w.Ack(w.ctx, project, other, otherGroup, false, []Ack{{ofQueue[0].Handle, true}})
		require.Equal(t, CodeHandle, code(t, err), "it is another delivery")
	})
}

func TestAGroupsFirstLabelsAreItsRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		_, err := w.Send(w.ctx, project, id, []Message{
			{Body: []byte(`1`), Labels: []string{"eu"}}, {Body: []byte(`2`), Labels: []string{"us"}}, {Body: []byte(`3`), Labels: []string{"eu", "us"}}, {Body: []byte(`4`)},
		})
		require.NoError(t, err)
		first := func(r *Receive) { r.Max = 1 }
		require.Equal(t, "1", bodies(w.receive(id, group, first)), "retrievals without labels fix nothing")
		rule := func(all bool, labels ...string) func(*Receive) {
			return func(r *Receive) { r.Labels, r.AllLabels = labels, all }
		}
		require.Equal(t, "3", bodies(w.receive(id, group, rule(true, "us", "eu", "us"))))
		for _, other := range []func(*Receive){rule(false, "us", "eu"), rule(true, "us"), rule(true, "us", "eu", "x"), rule(false)} {
			r := usual()
			other(&r)
			_, err := w.Receive(w.ctx, project, id, group, r)
			require.Equal(t, CodeConsume, code(t, err))
		}
		require.Empty(t, w.receive(id, group, rule(true, "eu", "us")), "the same rule in another order")
		list, err := w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
		require.NoError(t, err)
		require.Equal(t, int64(2), list.Groups[0].Filtered)
		require.Equal(t, int64(2), list.Groups[0].Available)
		require.Empty(t, w.receive(id, group, func(r *Receive) { r.DeadLetters = true }), "dead letters have no rule")
	})
}

func TestOfRacingLabelRulesOneWinsAndOnlyItTakesMessages(t *testing.T) {
	for range 20 {
		synctest.Test(t, testRacingRules)
	}
}

func testRacingRules(t *testing.T) {
	broker := newFake(t)
	ctx := t.Context()
	services := []*Service{New(Options{Broker: broker}), New(Options{Broker: broker}), New(Options{Broker: broker})}
	w := &world{T: t, ctx: ctx, broker: broker, Service: services[0]}
	id, group := w.queue(NewQueue{Mode: FIFO})
	labels := []string{"a", "b", "c"}
	for _, l := range labels {
		_, err := w.Send(ctx, project, id, []Message{{Body: []byte(`"` + l + `"`), Labels: []string{l}}})
		require.NoError(t, err)
	}
	results := make(chan string, len(services)*2)
	for i := range 2 * len(services) {
		go func() {
			r := usual()
			r.Max, r.Labels = 1, []string{labels[i%3]}
			got, err := services[i%3].Receive(ctx, project, id, group, r)
			switch {
			case err != nil && code(t, err) == CodeConsume:
				results <- ""
			case err != nil:
				results <- err.Error()
			case len(got) == 0:
				results <- labels[i%3]
			default:
				results <- strings.Trim(string(got[0].Body), `"`)
			}
		}()
	}
	winners := map[string]int{}
	for range 2 * len(services) {
		winners[<-results]++
	}
	require.Len(t, winners, 2, "%v", winners)
	require.Equal(t, 4, winners[""])
}
