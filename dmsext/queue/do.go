package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

const (
	// patience is for how long answers that go away by themselves are waited out, within the request's own time.
	patience = 8 * time.Second
	// brokerTime is the time given to the broker for one administrative request.
	brokerTime = 15 * time.Second
	// removalTime is the time a removal goes on that was begun, though nobody waits for it any more.
	removalTime = 30 * time.Second

	firstPause = 5 * time.Millisecond
	mostPause  = 250 * time.Millisecond
)

// ask sends one request through the front door.
func ask[R kmsg.Response](ctx context.Context, s *Service, req kmsg.Request) (R, error) {
	var none R
	resp, err := s.broker.Do(ctx, private.Principal, req)
	if err != nil {
		if end := ctx.Err(); end != nil {
			return none, end
		}
		return none, err
	}
	r, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("request %d is answered by %T", req.Key(), resp)
	}
	return r, nil
}

// patiently calls do again while its error is one that goes away, for at most that long.
func patiently(ctx context.Context, most time.Duration, do func() error) error {
	begin, pause := time.Now(), firstPause
	for {
		err := do()
		if err == nil || !isPassing(err) || time.Since(begin)+pause > most {
			return err
		}
		if end := rest(ctx, pause); end != nil {
			return end
		}
		pause = min(2*pause, mostPause)
	}
}

// rest waits that long, or until ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// millis is a duration for a request, within 32 bits.
func millis(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), 0), 1<<31-1))
}
