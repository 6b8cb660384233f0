package queue

import (
	"time"

	"go.uber.org/zap"
)

// Options are what a Service is made of. Broker is needed, everything else has a default.
type Options struct {
	Broker Broker
	Log    *zap.Logger

	// MaxQueues is how many queues a project may have; 30 by default (decision D5). MaxGroups is how many groups a queue may have,
	// 1-10; 3 by default.
	MaxQueues int
	MaxGroups int
	// Partitions is how many partitions a NORMAL queue has that does not say; 3 by default.
	Partitions int32
	// KeyAge is after how long handles get a new key; 30 days by default. Handles of the key before stay good.
	KeyAge time.Duration
	// Now is the clock, which delayed messages' due times are made by; the broker's own, where there is one, so that steps of the
	// machine's clock do not come between the two. time.Now by default.
	Now func() time.Time
}

// Service is the queues of all projects. Its methods may be called by any number of goroutines. Their errors are of type *Error,
// or wrap that of a context that ended.
type Service struct {
	broker     Broker
	log        *zap.Logger
	maxQueues  int
	maxGroups  int
	partitions int32
	keyAge     time.Duration
	now        func() time.Time

	cache   cache
	keys    keyring
	senders senderPool
}

// Limits of what a project's owner or a tool may ask for.
const (
	mostGroups     = 10  // on a queue, whatever the options
	mostPartitions = 200 // of a queue
)

// New makes a Service. It does not talk to the broker before the first call.
func New(o Options) *Service {
	s := &Service{
		broker: o.Broker, log: o.Log, maxQueues: o.MaxQueues, maxGroups: o.MaxGroups, partitions: o.Partitions, keyAge: o.KeyAge, now: o.Now,
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.maxQueues <= 0 {
		s.maxQueues = 30
	}
	if s.maxGroups <= 0 {
		s.maxGroups = 3
	}
	s.maxGroups = min(s.maxGroups, mostGroups)
	if s.partitions <= 0 {
		s.partitions = 3
	}
	if s.keyAge <= 0 {
		s.keyAge = 30 * 24 * time.Hour
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}
