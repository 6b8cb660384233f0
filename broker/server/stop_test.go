package server

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

func TestStopUnderLoadAnswersEverythingThatWasStarted(t *testing.T) {
	var started, received atomic.Int64
	var answering sync.WaitGroup
	answering.Add(1) // never at zero while handlers add to it
	s, address := startServer(t, Options{}, handlers{
		kmsg.Produce: func(c *call.Call) {
			started.Add(1)
			answering.Go(func() { answerEmpty(c) })
		},
		kmsg.Fetch: func(c *call.Call) { // a long poll
			started.Add(1)
			context.AfterFunc(c.Context, func() { answerEmpty(c) })
		},
	})
	var clients sync.WaitGroup
	client := func(request func() kmsg.Request) {
		c := dial(t, address)
		clients.Go(func() {
			for {
				if _, err := c.Write(c.bytes(request())); err != nil {
					return
				}
			}
		})
		clients.Go(func() {
			for {
				if _, _, err := c.tryReceive(); err != nil {
					_ = c.Close()
					return
				}
				received.Add(1)
			}
		})
	}
	for range 4 {
		client(func() kmsg.Request { return produce(pattern(300)) })
		client(fetch)
	}
	eventually(t, "load", func() bool { return received.Load() > 1000 && s.Parked() >= 4 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
	clients.Wait()
	answering.Done()
	answering.Wait()
	require.Equal(t, started.Load(), received.Load())
	require.Zero(t, s.Connections())
	require.Zero(t, s.requests.Used())
	require.Zero(t, s.decoded.Used())
}

func TestStopCutsOffAtItsDeadlineWhatDoesNotFinish(t *testing.T) {
	calls := make(parked, 1)
	s, address := startServer(t, Options{}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	c.send(produce(nil))
	p := calls.next(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Stop(ctx), ErrStopForced)
	c.closed()
	answerEmpty(p) // too late, and harmless
	require.Zero(t, s.requests.Used())
}

func TestStopOfAnIdleServerIsQuickAndRefusesNewClients(t *testing.T) {
	s, address := startServer(t, Options{}, nil)
	c := dial(t, address)
	c.send(metadata())
	c.expect(1)
	begin := time.Now()
	require.NoError(t, s.Stop(t.Context()))
	require.Less(t, time.Since(begin), lingerTime)
	c.closed()
}
