package log

import "github.com/tidemark-mq/tidemark/storage/segment"

// TimedOffset is a record found by its time. Offset and Timestamp are -1 when there is none.
type TimedOffset struct {
	Timestamp   int64 // ms
	Offset      int64
	LeaderEpoch int32 // under which it was appended, -1: unknown
}

var noTimed = TimedOffset{Timestamp: -1, Offset: -1, LeaderEpoch: noEpoch}

// OffsetForTime is the first record in the log whose timestamp is ms or later.
func (l *Log) OffsetForTime(ms int64) (TimedOffset, error) {
	return l.retried(func() (TimedOffset, *segment.Segment, error) {
		start := l.Start()
		for _, s := range l.list() {
			if m := s.Meta(); m.MaxTime < ms || m.Next <= start {
				continue
			}
			t, ok, err := s.FindTime(ms, start, 0)
			if err != nil {
				return noTimed, s, l.readFailed(s, start, err)
			}
			if ok {
				return l.timed(t), s, nil
			}
		}
		return noTimed, nil, nil
	})
}

// OffsetOfMaxTime is the first record with the largest timestamp (KIP-734). As in Kafka it may lie below the log's start, while
// its segment is there.
func (l *Log) OffsetOfMaxTime() (TimedOffset, error) {
	return l.retried(func() (TimedOffset, *segment.Segment, error) {
		var latest *segment.Segment
		most := int64(-1)
		for _, s := range l.list() {
			if m := s.Meta(); m.MaxTime > most {
				latest, most = s, m.MaxTime
			}
		}
		if latest == nil {
			return noTimed, nil, nil
		}
		t, ok, err := latest.FindMaxTime(0)
		if err != nil {
			return noTimed, latest, l.readFailed(latest, latest.Base(), err)
		}
		if !ok {
			return noTimed, nil, nil
		}
		return l.timed(t), latest, nil
	})
}

// retried looks again where a segment was taken out of the log during the look.
func (l *Log) retried(look func() (TimedOffset, *segment.Segment, error)) (TimedOffset, error) {
	for {
		if err := l.readable(); err != nil {
			return noTimed, err
		}
		t, s, err := look()
		if err == nil || !l.replaced(s, err) {
			return t, err
		}
	}
}

func (l *Log) timed(t segment.Timed) TimedOffset {
	return TimedOffset{Timestamp: t.Timestamp, Offset: t.Offset, LeaderEpoch: l.EpochOf(t.Offset)}
}
