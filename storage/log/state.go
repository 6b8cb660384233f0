package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// State is what Close leaves for the next Open, so that it need not read the log. Encode and ParseState keep it.
type State struct {
	Start, End int64
	CleanedTo  int64
	SnapshotAt int64 // offset of the producer snapshot
	Producers  int   // in it; with none there need not be one
	Gaps       bool
	Epochs     []segment.EpochEntry
	Segments   []segment.Meta
}

func (l *Log) stateLocked() State {
	s := State{
		Start: l.Start(), End: l.End(), CleanedTo: l.CleanedTo(), SnapshotAt: l.on.snapshotAt,
		Producers: l.on.producers.len(), Gaps: l.on.gaps, Epochs: *l.epochs.Load(),
	}
	for _, seg := range l.list() {
		s.Segments = append(s.Segments, seg.Meta())
	}
	return s
}

// An encoded state, integers zigzag varints save the first two:
//
//	0  uint8   version, 1
//	1  uint32  CRC-32C of what follows, big-endian
//	   start, end, cleaned-to, snapshot offset, producers, gaps (0 or 1)
//	   number of epochs; each: epoch, first offset
//	   number of segments; each: the fields of segment.Meta in order, HasTxns as 0 or 1
const (
	stateVersion = 1
	stateHeader  = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode appends the state to dst.
func (s State) Encode(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, stateVersion, 0, 0, 0, 0)
	put := func(values ...int64) {
		for _, v := range values {
			dst = binary.AppendVarint(dst, v)
		}
	}
	put(s.Start, s.End, s.CleanedTo, s.SnapshotAt, int64(s.Producers), bit(s.Gaps), int64(len(s.Epochs)))
	for _, e := range s.Epochs {
		put(int64(e.Epoch), e.Start)
	}
	put(int64(len(s.Segments)))
	for _, m := range s.Segments {
		put(m.Base, m.Next, m.Size, m.Created, m.FirstTime, m.MaxTime, m.MaxTimeOffset, m.SinceIndex, m.IndexedTime,
			int64(m.OffsetEntries), int64(m.TimeEntries), bit(m.HasTxns))
	}
	binary.BigEndian.PutUint32(dst[from+1:], crc32.Checksum(dst[from+stateHeader:], castagnoli))
	return dst
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// ParseState reads what Encode wrote. Errors wrap ErrState; a state that cannot be read is none, the log then recovers.
func ParseState(b []byte) (State, error) {
	if len(b) < stateHeader || b[0] != stateVersion {
		return State{}, fmt.Errorf("%w: %d bytes, or of another version", ErrState, len(b))
	}
	if got, want := crc32.Checksum(b[stateHeader:], castagnoli), binary.BigEndian.Uint32(b[1:]); got != want {
		return State{}, fmt.Errorf("%w: checksum is %08x, stored is %08x", ErrState, got, want)
	}
	r := stateReader{rest: b[stateHeader:]}
	s := State{Start: r.next(), End: r.next(), CleanedTo: r.next(), SnapshotAt: r.next(), Producers: int(r.next()), Gaps: r.next() != 0}
	for range r.count(2) {
		s.Epochs = append(s.Epochs, segment.EpochEntry{Epoch: int32(r.next()), Start: r.next()})
	}
	for range r.count(12) {
		s.Segments = append(s.Segments, segment.Meta{
			Base: r.next(), Next: r.next(), Size: r.next(), Created: r.next(), FirstTime: r.next(), MaxTime: r.next(),
			MaxTimeOffset: r.next(), SinceIndex: r.next(), IndexedTime: r.next(),
			OffsetEntries: int(r.next()), TimeEntries: int(r.next()), HasTxns: r.next() != 0,
		})
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("bytes are left over")
	}
	if r.err == nil {
		r.err = s.check()
	}
	if r.err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrState, r.err)
	}
	return s, nil
}

type stateReader struct {
	rest []byte
	err  error
}

func (r *stateReader) next() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.err, r.rest = errors.New("it ends early"), nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads how many things of so many fields follow.
func (r *stateReader) count(fields int) int {
	n := r.next()
	if n < 0 || n > int64(len(r.rest)/fields) {
		r.err, r.rest = fmt.Errorf("%d things in %d bytes", n, len(r.rest)), nil
		return 0
	}
	return int(n)
}

// check refuses what no log can have been.
func (s *State) check() error {
	next := int64(0)
	for _, m := range s.Segments {
		if m.Base < next || m.Next < m.Base || m.Size < 0 || m.Size > segment.MaxSize || m.OffsetEntries < 0 || m.TimeEntries < 0 {
			return fmt.Errorf("segment %d to %d of %d bytes after offset %d", m.Base, m.Next, m.Size, next)
		}
		next = m.Next
	}
	if s.Start < 0 || s.End < s.Start || s.End < next || s.Producers < 0 {
		return fmt.Errorf("log of %d to %d, segments end at %d", s.Start, s.End, next)
	}
	return nil
}
