package share

import (
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// deadLetters is what a partition knows of its dead letters on their way. It is guarded by the partition's mu.
type deadLetters struct {
	producer *share.Producer
	busy     bool      // bury runs
	retry    time.Time // when it is tried again; zero: nothing failed
}

func (p *partition) buryLocked(now time.Time) bool { return false }

func (p *partition) bury() {}
