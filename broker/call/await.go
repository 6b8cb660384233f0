package call

import (
	"context"
	"fmt"
	"sync"
)

// Await hands c to handle and waits for the answer, or for the end of c.Context, in which case an answer that comes later
// is freed unseen. It is the receiver for calls that come from inside the process. A second answer, which is a bug of the
// handler, is told to repeated; it panics where that is nil, as tests want.
func Await(c *Call, handle func(*Call), repeated func(*Call)) (Response, error) {
	s := &awaiter{done: make(chan struct{}), repeated: repeated}
	c.SetSink(s)
	handle(c)
	select {
	case <-s.done:
		return s.response, nil
	case <-c.Context.Done():
		return s.abandon(c.Context)
	}
}

// awaiter is the sink of one awaited call.
type awaiter struct {
	done     chan struct{}
	repeated func(*Call)

	mu       sync.Mutex
	response Response // set once, before done is closed
	came     bool
	gone     bool // nobody waits any more
}

func (s *awaiter) Answer(r Response) {
	s.mu.Lock()
	gone := s.gone
	if !gone {
		s.response, s.came = r, true
	}
	s.mu.Unlock()
	if gone {
		r.Free()
		return
	}
	close(s.done)
}

func (s *awaiter) Repeated(c *Call) {
	if s.repeated == nil {
		panic(fmt.Sprintf("call with key %d answered twice", c.Header.Key))
	}
	s.repeated(c)
}

// abandon stops waiting, unless the answer came in the meantime.
func (s *awaiter) abandon(ctx context.Context) (Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.came {
		return s.response, nil
	}
	s.gone = true
	return Response{}, context.Cause(ctx)
}
