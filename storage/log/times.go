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
	if err := l.readable(); err != nil {
		return noTimed, err
	}
	start := l.Start()
	for _, s := range l.list() {
		if m := s.Meta(); m.MaxTime < ms || m.Next <= start {
			continue
		}
		t, ok, err := s.FindTime(ms, start, 0)
		if err != nil {
			return noTimed, l.readFailed(s, start, err)
		}
		if ok {
			return l.timed(t), nil
		}
	}
	return noTimed, nil
}

// OffsetOfMaxTime is the first record with the largest timestamp (KIP-734). As in Kafka it may lie below the log's start, while
// its segment is there.
func (l *Log) OffsetOfMaxTime() (TimedOffset, error) {
	if err := l.readable(); err != nil {
		return noTimed, err
	}
	var latest *segment.Segment
	most := int64(-1)
	for _, s := range l.list() {
		if m := s.Meta(); m.MaxTime > most {
			latest, most = s, m.MaxTime
		}
	}
	if latest == nil {
		return noTimed, nil
	}
	t, ok, err := latest.FindMaxTime(0)
	if err != nil {
		return noTimed, l.readFailed(latest, latest.Base(), err)
	}
	if !ok {
		return noTimed, nil
	}
	return l.timed(t), nil
}

func (l *Log) timed(t segment.Timed) TimedOffset {
	return TimedOffset{Timestamp: t.Timestamp, Offset: t.Offset, LeaderEpoch: l.EpochOf(t.Offset)}
}
