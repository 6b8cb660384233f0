package queue

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

func TestAMessageComesOutAsItWentIn(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	sent, err := w.Send(w.ctx, project, id, []Message{
		{Body: json.RawMessage(`"plain text"`)},
		{Body: json.RawMessage(`{"orderId": 42, "big": 12345678901234567890}`), Attributes: []Attribute{
			{"source", json.RawMessage(`"web"`)}, {"retry", json.RawMessage(`1`)}, {"source", json.RawMessage(`" last wins "`)}, {"", json.RawMessage(`null`)},
		}, Labels: []string{"eu", "vip"}},
	})
	require.NoError(t, err)
	got := w.receive(id, group)
	require.Len(t, got, 2)
	require.Equal(t, `"plain text" {"orderId": 42, "big": 12345678901234567890}`, bodies(got))
	require.Equal(t, []Attribute{{"retry", json.RawMessage(`1`)}, {"source", json.RawMessage(`" last wins "`)}, {"", json.RawMessage(`null`)}}, got[1].Attributes)
	require.Equal(t, []string{"eu", "vip"}, got[1].Labels)
	require.Nil(t, got[0].Attributes)
	require.Equal(t, []string{sent[0].ID, sent[1].ID}, []string{got[0].ID, got[1].ID}, "the id is the message's at every sight")
	require.NotEqual(t, sent[0].ID, sent[1].ID)
	require.Equal(t, 1, got[0].Deliveries)
	require.WithinDuration(t, time.Now(), got[0].Produced, time.Minute)
}

func TestTheMessagesOfACallStayInOrderAndCallsTakePartitionsInTurn(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	for range 6 {
		w.send(id, `1`, `2`, `3`)
	}
	for _, p := range w.broker.topics["q-"+project+"-"+id].partitions {
		require.Len(t, p.records, 6)
		for i, rec := range p.records {
			require.Equal(t, fmt.Sprint(i%3+1), string(rec.Value))
		}
	}
	require.Equal(t, 6, w.broker.asked[0], "one produce request a call")
}

func TestManyAttributesOfOneNameAreOne(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	m := Message{Body: json.RawMessage(`1`)}
	for i := range 1000 {
		m.Attributes = append(m.Attributes, Attribute{fmt.Sprint(i % 40), json.RawMessage(fmt.Sprint(i))})
	}
	_, err := w.Send(w.ctx, project, id, []Message{m})
	require.NoError(t, err)
	got := w.receive(id, group)[0].Attributes
	require.Len(t, got, 40)
	require.Equal(t, Attribute{"0", json.RawMessage(`960`)}, got[0])
}

func TestWhatIsWrongWithMessagesRefusesAllOfThem(t *testing.T) {
	good := Message{Body: json.RawMessage(`1`)}
	with := func(change func(*Message)) []Message {
		m := good
		change(&m)
		return []Message{good, m}
	}
	body := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`) }
	overhead := len(`{"body":}`)
	for name, c := range map[string]struct {
		messages []Message
		mode     Mode
		code     int
	}{
		"none":             {nil, "", CodeFormat},
		"eleven":           {make([]Message, 11), "", CodeFormat},
		"no body":          {with(func(m *Message) { m.Body = nil }), "", CodeFields},
		"no text":          {with(func(m *Message) { m.Body = json.RawMessage("\"\xff\"") }), "", CodeBody},
		"object attribute": {with(func(m *Message) { m.Attributes = []Attribute{{"a", json.RawMessage(`{}`)}} }), "", CodeFields},
		"array attribute":  {with(func(m *Message) { m.Attributes = []Attribute{{"a", json.RawMessage(`[]`)}} }), "", CodeFields},
		"no attribute":     {with(func(m *Message) { m.Attributes = []Attribute{{"a", nil}} }), "", CodeFields},
		"attribute's name": {with(func(m *Message) { m.Attributes = []Attribute{{"\xff", json.RawMessage(`1`)}} }), "", CodeBody},
		"four labels":      {with(func(m *Message) { m.Labels = []string{"a", "b", "c", "d"} }), "", CodeFormat},
		"empty label":      {with(func(m *Message) { m.Labels = []string{""} }), "", CodeLabelName},
		"bad label":        {with(func(m *Message) { m.Labels = []string{"a b"} }), "", CodeLabelName},
		"long label":       {with(func(m *Message) { m.Labels = []string{strings.Repeat("a", 65)} }), "", CodeLabelName},
		"negative delay":   {with(func(m *Message) { m.Delay = -1 }), "", CodeFormat},
		"long delay":       {with(func(m *Message) { m.Delay = 604800001 * time.Millisecond }), "", CodeFormat},
		"kafka delay":      {with(func(m *Message) { m.Delay = time.Second }), KafkaHA, CodeFormat},
		"kafka attributes": {with(func(m *Message) { m.Attributes = []Attribute{{"a", json.RawMessage(`1`)}} }), KafkaHA, CodeFormat},
		"kafka labels":     {with(func(m *Message) { m.Labels = []string{"a"} }), KafkaHT, CodeFormat},
		"large by size":    {with(func(m *Message) { m.Size = 524289 }), "", CodeSize},
		"large":            {[]Message{{Body: body(524289 - overhead)}}, "", CodeSize},
		"large together":   {[]Message{{Body: body(262144)}, {Body: body(262144)}}, "", CodeSize},
	} {
		w := newWorld(t)
		id, _ := w.queue(NewQueue{Mode: c.mode})
		_, err := w.Send(w.ctx, project, id, c.messages)
		require.Equal(t, c.code, code(t, err), name)
		require.Zero(t, w.broker.asked[0], name)
	}
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	_, err := w.Send(w.ctx, project, id, []Message{{Body: body(524288 - overhead)}})
	require.NoError(t, err, "to the byte")
	require.Len(t, w.receive(id, group)[0].Body, 524288-overhead)
	_, err = w.Send(w.ctx, project, id, []Message{{Body: json.RawMessage(`1`), Labels: []string{strings.Repeat("a", 64)}, Delay: 604800000 * time.Millisecond}})
	require.NoError(t, err)
}

func TestWhatIsWrongWithARetrievalHasItsCode(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	kafka, kafkaGroup := w.queue(NewQueue{Name: "clicks", Mode: KafkaHA})
	for _, c := range []struct {
		change func(*Receive)
		code   int
	}{
		{func(r *Receive) { r.Max = 0 }, CodeMaxMessages},
		{func(r *Receive) { r.Max = 11 }, CodeMaxMessages},
		{func(r *Receive) { r.Wait = 0 }, CodeTimeWait},
		{func(r *Receive) { r.Wait = 61 * time.Second }, CodeTimeWait},
		{func(r *Receive) { r.AckWait = 14 * time.Second }, CodeAckWait},
		{func(r *Receive) { r.AckWait = 301 * time.Second }, CodeAckWait},
		{func(r *Receive) { r.Labels = []string{"a", "b", "c", "d"} }, CodeQuery},
		{func(r *Receive) { r.Labels = []string{"a", ""} }, CodeLabelName},
		{func(r *Receive) { r.Labels = []string{"a b"} }, CodeLabelName},
	} {
		r := usual()
		c.change(&r)
		_, err := w.Receive(w.ctx, project, id, group, r)
		require.Equal(t, c.code, code(t, err), "%+v", r)
	}
	for _, change := range []func(*Receive){func(r *Receive) { r.DeadLetters = true }, func(r *Receive) { r.Labels = []string{"a"} }} {
		r := usual()
		change(&r)
		_, err := w.Receive(w.ctx, project, kafka, kafkaGroup, r)
		require.Equal(t, CodeConsume, code(t, err))
	}
}

func TestRecordsOfKafkaProducersAreShownAsJSON(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{Mode: FIFO})
	topic := w.broker.topics["q-"+project+"-"+id]
	values := []struct{ value, body string }{
		{`{"a": 1}`, `{"a": 1}`},
		{`plain`, `"` + base64.StdEncoding.EncodeToString([]byte("plain")) + `"`},
		{"\"\xff\"", `"Iv8i"`},
		{`"a"b"`, `"ImEiYiI="`},
		{`"esc\"aped\u00e4"`, `"esc\"aped\u00e4"`},
		{`"ä"`, `"ä"`},
		{``, `""`},
		{"\x00\x01", `"AAE="`},
		{`[1,`, `"WzEs"`},
	}
	for _, v := range values {
		w.broker.add(topic, 0, private.LeasedRecord{Key: []byte("k"), Value: []byte(v.value), Headers: []private.Header{
			{Key: "trace", Value: []byte("x")}, {Key: private.AttributePrefix + "a", Value: []byte("raw")}, {Key: idHeader, Value: []byte("no id")},
		}})
	}
	w.broker.add(topic, 0, private.LeasedRecord{})
	got := w.receive(id, group)
	require.Len(t, got, len(values)+1)
	for i, v := range values {
		require.Equal(t, v.body, string(got[i].Body), v.value)
		require.True(t, json.Valid(got[i].Body))
		require.Equal(t, []Attribute{{"a", json.RawMessage(`"cmF3"`)}}, got[i].Attributes)
		require.Equal(t, recordID(&queue{key: mustUUID(t, id)}, 0, int64(i)), got[i].ID)
	}
	require.Equal(t, "null", string(got[len(values)].Body))
}

func mustUUID(t *testing.T, s string) [16]byte {
	id, ok := parseUUID(s)
	require.True(t, ok)
	return id
}

func TestADelayedMessageHasItsIDBeforeItHasAnOffset(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	sent, err := w.Send(w.ctx, project, id, []Message{
		{Body: json.RawMessage(`"later"`), Delay: time.Minute, Labels: []string{"eu"}, Attributes: []Attribute{{"a", json.RawMessage(`1`)}}},
		{Body: json.RawMessage(`"now"`)},
		{Body: json.RawMessage(`"much later"`), Delay: time.Hour},
	})
	require.NoError(t, err)
	topic := "q-" + project + "-" + id
	delayed := w.broker.delays[w.broker.topics[topic].id]
	require.Len(t, delayed, 2)
	require.WithinDuration(t, time.Now().Add(time.Minute), time.UnixMilli(delayed[0].DueMillis), 20*time.Second)
	require.Equal(t, `"now"`, bodies(w.receive(id, group)))
	w.broker.due(topic)
	got := w.receive(id, group)
	require.Equal(t, `"later" "much later"`, bodies(got))
	require.Equal(t, sent[0].ID, got[0].ID)
	require.Equal(t, sent[2].ID, got[1].ID)
	require.NotEqual(t, sent[0].ID, sent[2].ID)
	require.Equal(t, []string{"eu"}, got[0].Labels)
	require.Len(t, got[0].Attributes, 1)
}

func TestARetrievalWaitsForTheFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		begin := time.Now()
		require.Empty(t, w.receive(id, group, func(r *Receive) { r.Wait = 7 * time.Second }))
		require.Equal(t, 7*time.Second, time.Since(begin))

		begin = time.Now()
		go func() {
			time.Sleep(2 * time.Second)
			w.send(id, `"at last"`)
		}()
		require.Equal(t, `"at last"`, bodies(w.receive(id, group, func(r *Receive) { r.Wait = time.Minute })))
		require.Equal(t, 2*time.Second, time.Since(begin))
	})
}

func TestDeadLettersAreAwaitedBeforeThereIsATopicForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id, group := w.queue(NewQueue{Redrive: true, MaxConsumeCount: 2})
		sent := w.send(id, `"bad"`)
		dead := func(r *Receive) { r.DeadLetters, r.Wait = true, 3*time.Second }
		begin := time.Now()
		require.Empty(t, w.receive(id, group, dead))
		require.Equal(t, 3*time.Second, time.Since(begin))
		go func() {
			time.Sleep(time.Second)
			for range 2 {
				got := w.receive(id, group)
				_, err := w.Ack(w.ctx, project, id, group, false, handles(got, false))
				require.NoError(t, err)
			}
		}()
		got := w.receive(id, group, dead)
		require.Equal(t, `"bad"`, bodies(got))
		require.Equal(t, sent[0].ID, got[0].ID, "it is the same message")

		list, err := w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
		require.NoError(t, err)
		g := list.Groups[0]
		require.Equal(t, []int64{1, 1, 0, 1, 1}, []int64{g.Produced, g.Consumed, g.Available, g.ProducedDeadLetters, g.AvailableDeadLetters})

		_, err = w.Ack(w.ctx, project, id, group, false, handles(got, true))
		require.Equal(t, CodeNoConsumer, code(t, err), "a dead letter is not acknowledged as a message")
		result, err := w.Ack(w.ctx, project, id, group, true, handles(got, true))
		require.NoError(t, err)
		require.Equal(t, AckResult{Success: 1}, result)
		list, err = w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
		require.NoError(t, err)
		require.Equal(t, int64(1), list.Groups[0].ProducedDeadLetters)
		require.Zero(t, list.Groups[0].AvailableDeadLetters)
		require.NoError(t, w.DeleteGroup(w.ctx, project, id, group))
		require.Len(t, w.broker.topics, 1, "dead letters go with their group")
	})
}

func TestARetrievalOfAGroupThatIsDeletedGetsNothing(t *testing.T) {
	for _, deadLetters := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id, group := w.queue(NewQueue{Redrive: true, MaxConsumeCount: 1})
			go func() {
				time.Sleep(5 * time.Second)
				require.NoError(t, w.DeleteGroup(w.ctx, project, id, group))
				w.broker.mu.Lock()
				w.broker.groups[group] = &fakeGroup{shares: map[fakeKey]*fakeShare{}} // the engine still serves the poll
				w.broker.mu.Unlock()
				w.send(id, `1`)
			}()
			_, err := w.Receive(w.ctx, project, id, group, Receive{Max: 10, Wait: time.Minute, AckWait: time.Minute, DeadLetters: deadLetters})
			require.Equal(t, CodeGroupNotFound, code(t, err))
		})
	}
}

func TestARetrievalThatOutlivesItsGroupOrQueueTellsThatItIsGone(t *testing.T) {
	for _, deadLetters := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id, group := w.queue(NewQueue{})
			go func() {
				time.Sleep(5 * time.Second)
				require.NoError(t, w.DeleteGroup(w.ctx, project, id, group))
			}()
			_, err := w.Receive(w.ctx, project, id, group, Receive{Max: 10, Wait: 20 * time.Second, AckWait: time.Minute, DeadLetters: deadLetters})
			require.Equal(t, CodeGroupNotFound, code(t, err), "no list that looks like an empty queue: dead letters %v", deadLetters)
			require.Empty(t, w.broker.groups, "and it is not made again")
			require.Empty(t, w.broker.settings[group])
		})
	}
}

// A partition that closes under a request answers otherwise than a topic that nobody knows.
func TestAQueueThatIsDeletedUnderARequestIsNotFound(t *testing.T) {
	for name, do := range map[string]func(w *world, id, group string) error{
		"retrieve": func(w *world, id, group string) error {
			_, err := w.Receive(w.ctx, project, id, group, usual())
			return err
		},
		"send": func(w *world, id, _ string) error {
			_, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`1`)}})
			return err
		},
		"send delayed": func(w *world, id, _ string) error {
			_, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`1`), Delay: time.Hour}})
			return err
		},
		"show": func(w *world, id, _ string) error {
			_, err := w.Queue(w.ctx, project, id)
			return err
		},
		"list groups": func(w *world, id, _ string) error {
			_, err := w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
			return err
		},
	} {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
			switch req.(type) {
			case *private.LeaseRequest, *kmsg.ProduceRequest, *private.DelayRequest, *private.CountQueueRequest:
				for key := range w.broker.docs { // the deletion has come as far as the topic
					if strings.HasPrefix(key, private.KindQueues+"\n") {
						delete(w.broker.docs, key)
					}
				}
				return refusing(req, kerr.UnknownTopicOrPartition.Code), nil
			}
			return nil, nil
		}
		require.Equal(t, CodeQueueNotFound, code(t, do(w, id, group)), name)
	}
}
