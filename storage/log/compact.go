package log

import "github.com/tidemark-mq/tidemark/storage/segment"

// CreateCleaned makes an empty segment for the cleaner to fill and hand to ReplaceSegments. base is that of the first segment
// it will replace.
func (l *Log) CreateCleaned(base int64) (*segment.Segment, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	return segment.Create(l.o.Files, l.o.Dir, base, nowMs(), segment.CleanedSuffix)
}

// LastOffset is where a producer's state is read back from.
type LastOffset struct {
	Epoch  int16
	Offset int64 // of the last record of its last batch; -1: it has only a marker
}

// LastOffsets is the last batch of each producer that the log remembers, by producer id.
func (l *Log) LastOffsets() map[int64]LastOffset {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int64]LastOffset, l.on.producers.len())
	for id, p := range l.on.producers.byID {
		last := LastOffset{Epoch: p.epoch, Offset: -1}
		if n := len(p.batches); n > 0 {
			last.Offset = p.batches[n-1].LastOffset
		}
		out[id] = last
	}
	return out
}
