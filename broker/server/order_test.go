package server

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

func TestAnswersLeaveInRequestOrderWhateverFinishesFirst(t *testing.T) {
	calls, sent := make(parked, 10), make(chan string, 10)
	_, address := startServer(t, Options{}, handlers{kmsg.Produce: func(c *call.Call) {
		sent <- string(records(c)) // they are gone when the handler has returned
		calls.handle(c)
	}})
	c := dial(t, address)
	c.send(produce([]byte("a")), produce([]byte("b")), produce([]byte("c")), metadata())
	got := []*call.Call{calls.next(t), calls.next(t), calls.next(t)}
	for _, want := range []string{"a", "b", "c"} {
		require.Equal(t, want, <-sent)
	}
	answerEmpty(got[2])
	answerEmpty(got[1])
	answerEmpty(got[0])
	c.expect(1, 2, 3, 4)
}

func TestOnlyProduceOverlapsAndOnlyWithProduce(t *testing.T) {
	produces, fetches := make(parked, 10), make(parked, 10)
	s, address := startServer(t, Options{}, handlers{kmsg.Produce: produces.handle, kmsg.Fetch: fetches.handle})
	c := dial(t, address)

	c.send(produce(nil), fetch(), produce(nil))
	first := produces.next(t)
	eventually(t, "reader waits", func() bool { return readerWaits(s) })
	fetches.none(t)
	answerEmpty(first)
	c.expect(1)

	f := fetches.next(t)
	eventually(t, "reader waits", func() bool { return readerWaits(s) })
	produces.none(t)
	answerEmpty(f)
	c.expect(2)
	answerEmpty(produces.next(t))
	c.expect(3)
}

func readerWaits(s *Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.waits.since.Load() != 0 {
			return true
		}
	}
	return false
}

func TestProduceWithoutAnswerAndRefusals(t *testing.T) {
	calls := make(parked, 10)
	_, address := startServer(t, Options{}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	c.send(produce(nil), produce(nil), produce(nil), produce(nil))
	got := []*call.Call{calls.next(t), calls.next(t), calls.next(t), calls.next(t)}
	got[3].Reply(call.Response{Nothing: true})
	got[2].Reply(call.Response{Close: true})
	got[1].Reply(call.Response{Nothing: true})
	answerEmpty(got[0])
	c.expect(1) // the answers before the refusal still come
	c.closed()
}

func TestContextOfACallEndsWhenTheClientGoes(t *testing.T) {
	calls := make(parked, 1)
	s, address := startServer(t, Options{}, handlers{kmsg.Fetch: calls.handle})
	c := dial(t, address)
	c.send(fetch())
	f := calls.next(t)
	require.NoError(t, f.Context.Err())
	require.NoError(t, c.Close())
	<-f.Context.Done()
	released := make(chan struct{})
	f.Reply(call.Response{Payload: &call.Payload{Release: func() { close(released) }}})
	<-released
	eventually(t, "connection gone", func() bool { return s.Connections() == 0 })
}

func TestClientThatOnlyEndsItsSideGetsItsAnswers(t *testing.T) {
	calls := make(parked, 2)
	_, address := startServer(t, Options{}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	c.send(produce(nil))
	p := calls.next(t)
	require.NoError(t, c.Conn.(interface{ CloseWrite() error }).CloseWrite())
	<-p.Context.Done()
	answerEmpty(p)
	c.expect(1)
	c.closed()
}

func TestManyGoroutinesAnswerManyPipelinedRequests(t *testing.T) {
	const each, clients = 2000, 4
	var answering sync.WaitGroup
	answering.Add(1) // never at zero while handlers add to it
	_, address := startServer(t, Options{MaxInFlight: 50}, handlers{kmsg.Produce: func(c *call.Call) {
		answering.Go(func() { answerEmpty(c) })
	}})
	var all sync.WaitGroup
	for range clients {
		c := dial(t, address)
		all.Go(func() {
			for range each {
				c.send(produce([]byte("record")))
			}
		})
		all.Go(func() {
			for want := int32(1); want <= each; want++ {
				got, _, err := c.tryReceive()
				if err != nil || got != want {
					t.Errorf("answer %d, want %d, error %v", got, want, err)
					return
				}
			}
		})
	}
	all.Wait()
	answering.Done()
	answering.Wait()
}

func TestSecondAnswerOfACallIsReportedAndNotSent(t *testing.T) {
	repeated := make(chan any, 1)
	_, address := startServer(t, Options{}, handlers{kmsg.Fetch: func(c *call.Call) {
		answerEmpty(c)
		defer func() { repeated <- recover() }()
		answerEmpty(c)
	}})
	c := dial(t, address)
	c.send(fetch(), metadata())
	require.NotNil(t, <-repeated) // a development logger panics, others log an error
	c.expect(1, 2)
}
