package share

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// poll is one request that takes records of share partitions and may wait for them. Whoever makes one sets the exported-looking
// fields and calls Engine.start; the rest is the engine's.
//
// The engine finds (and loads) the partitions, calls attempt, and calls it again when one of the places may have something for
// it, until an attempt says that the poll is over. A poll that waits costs no goroutine. Of the polls that wait on a partition
// one at a time is tried, in the order in which they came.
type poll struct {
	ctx    context.Context
	until  time.Time // when it is answered with what there is
	places []place

	// attempt tries the places that are ready: those that may have something, or cannot be used. It calls finished once, perhaps
	// before it returns, and says whether the poll is over, that is, answered. Attempts of a poll do not overlap. The last one is
	// final: the time is up, or ctx has ended, and the poll is over whatever finished is given; nothing may be ready then.
	attempt func(ready []*place, final bool, finished func(over bool))

	engine *Engine
	timer  *time.Timer
	unhook func() bool

	mu struct {
		sync.Mutex
		running bool // somebody works on it, alone
		parked  bool // it was put into the lines of its places
		over    bool
		expired bool
		ready   int // places marked ready
	}
}

// place is a poll's place at one share partition.
type place struct {
	key  share.Key
	part *partition // nil while err says why there is none
	err  error      // see Engine.code

	poll  *poll
	ready bool  // guarded by poll.mu: to be tried
	spot  spot  // its place in the partition's line
	retry int32 // attempts to load it that failed for a time
}
