package leases

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// at is so many seconds after noon.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// telling makes histories of one group with the messages a, b and c at the offsets 0 to 2 of one partition.
type telling struct{ History }

func tell(g Group) *telling {
	g.Name = "g"
	h := &telling{History{Groups: []Group{g}, Drained: true}}
	for i, v := range []string{"a", "b", "c"} {
		h.Sends = append(h.Sends, Send{Value: v, Accepted: true})
		h.Logged = append(h.Logged, Logged{Place{0, int64(i)}, v, at(0)})
	}
	return h
}

// take hands messages to a holder for ten seconds; counts are delivery and failures of all of them.
func (h *telling) take(seconds float64, door Door, holder, values string, counts ...int) *telling {
	t := Take{Group: "g", Holder: holder, Door: door, Request: Exactly(at(seconds)), Granted: Exactly(at(seconds)), Until: Exactly(at(seconds + 10))}
	for _, v := range values {
		t.Records = append(t.Records, Taken{Place{0, int64(v - 'a')}, string(v), counts[0], counts[1]})
	}
	h.Takes = append(h.Takes, t)
	return h
}

func (h *telling) say(seconds float64, door Door, holder, values string, a Action, o Outcome) *telling {
	s := Settle{Group: "g", Holder: holder, Door: door, Request: Exactly(at(seconds)), Outcome: o, Until: Exactly(at(seconds + 10))}
	for _, v := range values {
		s.Records = append(s.Records, Said{Place{0, int64(v - 'a')}, string(v), a})
	}
	h.Settles = append(h.Settles, s)
	return h
}

// rest has what is not of interest accepted, behind everything else.
func (h *telling) rest(values string) *telling {
	return h.take(900, HTTP, "rest", values, 1, 0).say(901, HTTP, "rest", values, Accept, Done)
}

func (h *telling) and(change func(h *History)) *telling { change(&h.History); return h }

func TestWhatTheCheckerSees(t *testing.T) {
	durable, ordered := Group{Durable: true}, Group{Durable: true, Ordered: true}
	limit := Group{Durable: true, FailureLimit: 2, DeadLetters: true}
	dead := func(values string, seconds float64) func(h *History) {
		return func(h *History) {
			for _, v := range values {
				h.DeadLetters = append(h.DeadLetters, DeadLetter{"g", string(v), at(seconds)})
			}
		}
	}
	died := func(seconds float64) func(h *History) {
		return func(h *History) { h.Deaths = append(h.Deaths, at(seconds)) }
	}
	lost := func(h *History) {
		h.Lost = append(h.Lost, Lost{Group: "g", Request: Span{at(2), at(3)}, Until: at(20)})
	}
	sameGrant := func(h *History) {
		for i := range h.Takes {
			h.Takes[i].Granted = Span{at(1), at(2)}
		}
	}
	count := func(n Count) func(h *History) {
		n.Group, n.At, n.Records = "g", at(950), 3
		return func(h *History) { h.Counts = append(h.Counts, n) }
	}
	for name, tt := range map[string]struct {
		h    *telling
		want string // rule: part of the text; "" nothing
	}{
		"all accepted":                     {tell(durable).rest("abc"), ""},
		"a lease that ran out":             {tell(durable).take(1, HTTP, "x", "a", 1, 0).take(11, HTTP, "y", "a", 2, 1).say(12, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"two holders":                      {tell(durable).take(1, HTTP, "x", "a", 1, 0).take(5, HTTP, "y", "a", 2, 0).say(6, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: handed to y"},
		"two holders over a restart":       {tell(durable).take(1, HTTP, "x", "a", 1, 0).and(died(3)).take(5, HTTP, "y", "a", 2, 1).say(6, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: handed to y"},
		"a restart that forgets":           {tell(Group{}).take(1, HTTP, "x", "a", 1, 0).and(died(3)).take(5, HTTP, "y", "a", 1, 0).say(6, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"forgotten within a life":          {tell(Group{}).take(1, HTTP, "x", "a", 1, 0).take(5, HTTP, "y", "a", 2, 1).say(6, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: handed to y"},
		"a renewed lease":                  {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(9, HTTP, "x", "a", Renew, Done).take(12, HTTP, "y", "a", 2, 1).say(13, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: handed to y"},
		"given back":                       {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Release, Done).take(3, HTTP, "y", "a", 2, 0).say(4, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"given back without effect":        {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Release, Refused).take(30, HTTP, "y", "a", 2, 1).say(31, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: x was refused"},
		"a handle voided by a restart":     {tell(durable).take(1, HTTP, "x", "a", 1, 0).and(died(2)).say(3, HTTP, "x", "a", Accept, Refused).rest("bc").take(30, HTTP, "y", "a", 2, 1).say(31, HTTP, "y", "a", Accept, Done), "holders: x was refused"},
		"a session that ends gives back":   {tell(durable).take(1, Kafka, "m", "a", 1, -1).and(func(h *History) { h.Closes = append(h.Closes, Close{"g", "m", at(2)}) }).take(3, HTTP, "y", "a", 2, 0).say(4, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"settled too late":                 {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(12, HTTP, "x", "a", Accept, Done).rest("bc"), "holders: x settled it at"},
		"settled twice":                    {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Done).say(3, HTTP, "x", "a", Accept, Done).rest("bc"), "holders: x settled it twice"},
		"settled by somebody else":         {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "y", "a", Accept, Done).rest("bc"), "holders: y settled it and never held it"},
		"accepted and back":                {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Done).take(3, HTTP, "y", "a", 2, 0).rest("bc"), "return: handed to y"},
		"perhaps accepted, and back":       {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Unknown).take(12, HTTP, "y", "a", 2, 1).say(13, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"a dead letter that comes back":    {tell(limit).take(1, HTTP, "x", "a", 1, 1).say(2, HTTP, "x", "a", Fail, Done).and(dead("a", 3)).take(4, HTTP, "y", "a", 2, 1).rest("bc"), "return: handed to y"},
		"nobody settled it":                {tell(durable).take(1, HTTP, "x", "a", 1, 0).rest("bc"), "fate: is gone after 1 deliveries"},
		"perhaps settled":                  {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Unknown).rest("bc"), ""},
		"it never came":                    {tell(durable).rest("ab"), "fate: never reached the group"},
		"gone at Kafka's limit":            {tell(Group{DeliveryLimit: 2}).take(1, HTTP, "x", "a", 1, 0).take(12, HTTP, "y", "a", 2, 1).rest("bc"), ""},
		"gone below Kafka's limit":         {tell(Group{DeliveryLimit: 3}).take(1, HTTP, "x", "a", 1, 0).take(12, HTTP, "y", "a", 2, 1).rest("bc"), "fate: is gone after 2"},
		"gone at a limit with copies":      {tell(limit).take(1, HTTP, "x", "a", 1, 0).take(12, HTTP, "y", "a", 2, 1).rest("bc"), "fate: is gone after 2"},
		"a dead letter at the limit":       {tell(limit).take(1, HTTP, "x", "a", 1, 0).take(12, HTTP, "y", "a", 2, 1).and(dead("a", 22)).rest("bc"), ""},
		"a dead letter too soon":           {tell(limit).take(1, HTTP, "x", "a", 1, 0).and(dead("a", 11)).rest("bc"), "fate: is a dead letter, and nobody asked"},
		"two copies":                       {tell(limit).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Bury, Done).and(dead("aa", 3)).rest("bc"), "fate: is among the dead letters 2 times"},
		"accepted and dead":                {tell(limit).take(1, HTTP, "x", "a", 1, 1).say(2, HTTP, "x", "a", Accept, Done).and(dead("a", 3)).rest("bc"), "fate: was accepted and is a dead letter"},
		"handed out past the limit":        {tell(limit).and(lost).and(lost).take(4, HTTP, "x", "a", 3, 2).say(5, HTTP, "x", "a", Accept, Done).rest("bc"), "fate: handed to x with 2 failures"},
		"without the labels":               {tell(Group{Durable: true, Labels: []string{"l"}}).rest("a"), "fate: handed to rest, and does not have"},
		"filtered":                         {tell(Group{Durable: true, Labels: []string{"l"}}), ""},
		"lost by the log":                  {tell(durable).rest("abc").and(func(h *History) { h.Sends = append(h.Sends, Send{Value: "d", Accepted: true}) }), "fate: was accepted and is not in the log"},
		"twice in the log":                 {tell(durable).rest("abc").and(func(h *History) { h.Logged = append(h.Logged, Logged{Place{0, 3}, "a", at(0)}) }), "fate: is in the log twice"},
		"early":                            {tell(durable).rest("abc").and(func(h *History) { h.Sends[0].Due = at(5) }), "delay: entered 5s early"},
		"due and handed out before":        {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Done).rest("bc").and(func(h *History) { h.Sends[0].Due = at(5); h.Logged[0].At = at(5) }), "delay: handed to x"},
		"deliveries fall":                  {tell(durable).take(1, HTTP, "x", "a", 2, 0).and(died(5)).take(12, HTTP, "y", "a", 1, 1).say(13, HTTP, "y", "a", Accept, Done).rest("bc").and(lost), "deliveries: delivery 1 to y"},
		"deliveries jump":                  {tell(durable).take(1, HTTP, "x", "a", 1, 0).take(12, HTTP, "y", "a", 3, 1).say(13, HTTP, "y", "a", Accept, Done).rest("bc"), "deliveries: delivery 3 to y"},
		"a delivery that nobody saw":       {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(1.5, HTTP, "x", "a", Release, Done).and(lost).take(12, HTTP, "y", "a", 3, 1).say(13, HTTP, "y", "a", Accept, Done).rest("bc"), ""},
		"a failure forgotten":              {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Fail, Done).take(3, HTTP, "y", "a", 2, 0).say(4, HTTP, "y", "a", Accept, Done).rest("bc"), "deliveries: delivery 2 to y at 12:00:03.000000 has 0 failures"},
		"a failure made up":                {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Release, Done).take(3, HTTP, "y", "a", 2, 1).say(4, HTTP, "y", "a", Accept, Done).rest("bc"), "deliveries: has 1 failures"},
		"no back-off":                      {tell(Group{Durable: true, Backoff: func(int) time.Duration { return time.Minute }}).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Fail, Done).take(30, HTTP, "y", "a", 2, 1).say(31, HTTP, "y", "a", Accept, Done).rest("bc"), "deliveries: it is to wait 1m0s"},
		"in order":                         {tell(ordered).take(1, HTTP, "x", "ab", 1, 0).say(2, HTTP, "x", "ab", Accept, Done).rest("c"), ""},
		"past a leased one":                {tell(ordered).take(1, HTTP, "x", "a", 1, 0).take(2, HTTP, "y", "b", 1, 0).say(3, HTTP, "y", "b", Accept, Done).say(4, HTTP, "x", "a", Accept, Done).rest("c"), "order: handed to y"},
		"past one that never came":         {tell(ordered).take(1, HTTP, "x", "b", 1, 0).say(2, HTTP, "x", "b", Accept, Done).rest("ac"), "order: handed to x"},
		"redelivery in the middle":         {tell(ordered).take(1, HTTP, "x", "ab", 1, 0).take(12, HTTP, "y", "b", 2, 1).say(13, HTTP, "y", "b", Accept, Done).take(14, HTTP, "z", "a", 2, 1).say(15, HTTP, "z", "a", Accept, Done).rest("c"), "order: handed to y"},
		"handed out in two polls":          {tell(ordered).take(1, Kafka, "m", "a", 1, -1).take(2, Kafka, "m", "b", 1, -1).and(sameGrant).say(3, Kafka, "m", "a", Release, Done).say(3, Kafka, "m", "b", Accept, Done).take(4, HTTP, "y", "a", 2, 0).say(5, HTTP, "y", "a", Accept, Done).rest("c"), ""},
		"handed out past its own":          {tell(ordered).take(1, Kafka, "m", "a", 1, -1).take(2, Kafka, "m", "b", 1, -1).say(3, Kafka, "m", "a", Release, Done).say(3, Kafka, "m", "b", Accept, Done).take(4, HTTP, "y", "a", 2, 0).say(5, HTTP, "y", "a", Accept, Done).rest("c"), "order: handed to m"},
		"counters that agree":              {tell(durable).rest("abc").and(count(Count{Accepted: 3})), ""},
		"one too many in the counters":     {tell(durable).rest("abc").and(count(Count{Accepted: 4})), "counts: 4 accepted"},
		"one that no counter has":          {tell(durable).take(1, HTTP, "x", "a", 1, 0).say(2, HTTP, "x", "a", Accept, Unknown).rest("bc").and(count(Count{Accepted: 2})), "counts: at 12:15:50.000000 there are 3 records"},
		"in flight, says the counter":      {tell(durable).rest("abc").and(count(Count{Accepted: 3, InFlight: 1})), "counts: 1 in flight"},
		"dead letters that do not add up":  {tell(limit).rest("abc").and(count(Count{Accepted: 3, DeadLettered: 1})), "counts: 1 dead-lettered"},
		"Kafka's door: too late, all done": {tell(durable).take(1, Kafka, "m", "a", 1, -1).say(2, Kafka, "m", "a", Accept, Done).say(30, Kafka, "m", "a", Accept, Done).rest("bc"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := Check(&tt.h.History)
			if tt.want == "" {
				require.Empty(t, found)
				return
			}
			rule, text, _ := strings.Cut(tt.want, ": ")
			var all []string
			for _, v := range found {
				if v.Rule == rule && strings.Contains(v.Text, text) {
					return
				}
				all = append(all, v.String())
			}
			require.Fail(t, "not seen", "want %q, found %q", tt.want, all)
		})
	}
}

func TestAWalkStopsAtTheFirstThatIsNotAccepted(t *testing.T) {
	var held []Taken
	for i, v := range []string{"a", "b", "c", "d"} {
		held = append(held, Taken{Place{0, int64(i)}, v, 1, 0})
	}
	walked := func(said map[int64]Action) (out string) {
		for _, s := range Walk(held, said) {
			out += s.Value + ":" + s.Action.String() + " "
		}
		return strings.TrimSpace(out)
	}
	require.Equal(t, "a:accept b:accept", walked(map[int64]Action{0: Accept, 1: Accept}))
	require.Equal(t, "a:accept", walked(map[int64]Action{0: Accept, 2: Accept}), "what is not mentioned ends it")
	require.Equal(t, "a:accept b:fail c:release d:release", walked(map[int64]Action{0: Accept, 1: Fail, 3: Accept}), "behind a failure all are given back")
	require.Empty(t, walked(map[int64]Action{1: Fail}))
}
