package share

import (
	"time"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
)

// acquire is what is asked of a share partition.
type acquire struct {
	holder     string
	lease      time.Duration // 0: the group's share.record.lock.duration.ms
	maxRecords int           // at least 1
	maxBytes   int           // of the log; the first batch comes whole however large it is
	strict     bool          // records, not whole batches, up to maxRecords (share acquire mode 1)
	place      *place        // on whose behalf; nil: nobody's that waits

	choose chooser // nil: whatever there is
}

// acquired is what was granted. Without grants there was nothing.
type acquired struct {
	granted []window.Grant // by offset
	until   time.Time      // when the leases end
	// slice is the whole batches that hold what was granted, and maybe others between them. Released by whoever gets it, when
	// slice.Len is above 0.
	slice replica.Slice
}

// chooser says which of the free records in a run of batches are wanted, and which are to be settled as filtered.
type chooser interface {
	choose(batches []byte, free []window.Span) (want, filtered []window.Span, err error)
}
