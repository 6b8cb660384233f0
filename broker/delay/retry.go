package delay

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// What is done about a step that failed: it is tried again, later each time.

// again has a target tried again whose step was not committed in time; nothing happens where the shard's life is over.
func (s *Service) again(partition int32, t Target, err error) {
	s.start(func(context.Context) {
		_ = s.rt.Do(partition, func(m *machine, _ runtime.View) runtime.Outcome { return m.later(t, err) })
	})
}

// later is the outcome of an attempt that failed.
func (m *machine) later(t Target, err error) runtime.Outcome {
	return runtime.Outcome{Then: func(tx *runtime.Tx) { m.backOff(tx, t, err) }}
}

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// backOff has the target tried again, later each time.
func (m *machine) backOff(tx *runtime.Tx, t Target, err error) {
	at := m.target(t)
	at.busy = true
	wait := min(firstRetry<<min(at.fail, 10), lastRetry)
	if at.fail++; at.fail > 5 {
		m.s.log.Warn("delayed messages are held up", zap.Stringer("topic", t.Topic), zap.Int32("partition", t.Partition), zap.Int("attempts", at.fail), zap.Error(err))
	}
	tx.Schedule(timerOf(timerRetry, t), tx.Now().Add(wait))
}
