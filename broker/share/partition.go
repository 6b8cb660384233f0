package share

import (
	"sync"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// partition is one share partition in use, for as long as this broker leads the partition in one epoch.
type partition struct {
	e     *Engine
	key   share.Key
	part  *replica.Partition
	epoch int32 // leader epoch

	mu struct {
		sync.Mutex
		window *window.Window
		why    error // it is over, and why; nil: in use
	}
}

// spot is a poll's place in a partition's line.
type spot struct {
	prev, next *spot
}

// glance is about how many bytes of the log, up to limit, hold records that may be acquired now; nothing is acquired. Errors as
// acquire's.
func (p *partition) glance(limit int) (int, error) { panic("soon") }

// acquire takes records for a holder. done is called once, perhaps before it returns, when the records may leave.
func (p *partition) acquire(a acquire, done func(acquired, error)) { panic("soon") }

// settle does what a holder says of its records, all of it or, with an error, nothing. done is called once, perhaps before it
// returns, when it is durable. Errors wrap window.ErrState, window.ErrRange, or are as acquire's: see Engine.code.
func (p *partition) settle(holder string, actions []window.Action, done func(error)) { panic("soon") }

// release gives back all that a holder holds: its session is over. done is called once, perhaps before it returns, when that is
// durable or cannot be, in which case the leases run out by themselves.
func (p *partition) release(holder string, done func()) { panic("soon") }
