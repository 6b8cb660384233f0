package cleaner

import (
	"math"
	"time"

	"github.com/tidemark-mq/tidemark/storage/log"
)

// work is what there is to do in a log.
type work struct {
	from, to int64   // offsets: dirty, and may be compacted
	ratio    float64 // of dirty bytes among those that may be compacted
	overdue  bool    // max.compaction.lag.ms has passed for the oldest dirty record
}

// survey finds what may be compacted. Segments are taken whole.
func survey(l *log.Log, now time.Time) work {
	c := l.Config()
	w := work{from: max(l.CleanedTo(), l.Start())}
	if w.from > l.End() {
		w.from = l.Start() // the log was cut below the checkpoint
	}
	limit := min(l.StableOffset(), l.HighWatermark(), l.RecoveryPoint())
	w.to = w.from
	var clean, dirty int64
	oldest := int64(math.MaxInt64)
	for _, s := range l.Segments() {
		if s.Active || s.End > limit || c.MinCompactionLag > 0 && s.MaxTimestamp > now.Add(-c.MinCompactionLag).UnixMilli() {
			break
		}
		if s.End <= w.from {
			clean += s.Bytes
			continue
		}
		dirty += s.Bytes
		w.to = s.End
		if s.FirstTime >= 0 {
			oldest = min(oldest, s.FirstTime)
		}
	}
	if clean+dirty > 0 {
		w.ratio = float64(dirty) / float64(clean+dirty)
	}
	w.overdue = dirty > 0 && c.MaxCompactionLag > 0 && oldest != math.MaxInt64 && now.UnixMilli()-oldest > c.MaxCompactionLag.Milliseconds()
	return w
}

// due tells whether the log wants a run.
func (w work) due(c *log.Config) bool {
	return w.to > w.from && (w.ratio > c.MinDirtyRatio || w.overdue)
}

// group is neighbouring segments that become one.
type group struct {
	bases []int64
	from  int64 // base of the first
	to    int64 // end of the last
	bytes int64
}

// groups splits the segments that begin below upTo, so that what each becomes fits the
// topic's segment and index sizes whatever is left of it.
func groups(segments []log.SegmentInfo, upTo int64, c *log.Config) []group {
	var out []group
	for _, s := range segments {
		if s.Active || s.Base >= upTo {
			break
		}
		if n := len(out); n > 0 {
			g := &out[n-1]
			perIndex := int64(c.IndexBytes/8) * int64(max(c.IndexInterval, 1))
			if g.bytes+s.Bytes <= min(c.SegmentBytes, perIndex) && s.End-g.from <= math.MaxInt32 {
				g.bases, g.to, g.bytes = append(g.bases, s.Base), s.End, g.bytes+s.Bytes
				continue
			}
		}
		out = append(out, group{bases: []int64{s.Base}, from: s.Base, to: s.End, bytes: s.Bytes})
	}
	return out
}
