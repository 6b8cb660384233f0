package journal

import (
	"container/heap"
	"time"
)

// dirtyHeap orders streams by the first journal round they need, so that the oldest is at hand.
type dirtyHeap struct{ streams []*Stream }

// min is the first round any stream needs, or noSeq.
func (h *dirtyHeap) min() uint64 {
	if len(h.streams) == 0 {
		return noSeq
	}
	return h.streams[0].dirtySeq
}

func (h *dirtyHeap) push(s *Stream) { heap.Push((*heapOrder)(h), s) }
func (h *dirtyHeap) fix(s *Stream)  { heap.Fix((*heapOrder)(h), s.heapIndex-1) }

func (h *dirtyHeap) remove(s *Stream) {
	if s.heapIndex != 0 {
		heap.Remove((*heapOrder)(h), s.heapIndex-1)
	}
}

// heapOrder is dirtyHeap as container/heap wants it.
type heapOrder dirtyHeap

func (h *heapOrder) Len() int           { return len(h.streams) }
func (h *heapOrder) Less(i, j int) bool { return h.streams[i].dirtySeq < h.streams[j].dirtySeq }

func (h *heapOrder) Swap(i, j int) {
	h.streams[i], h.streams[j] = h.streams[j], h.streams[i]
	h.streams[i].heapIndex, h.streams[j].heapIndex = i+1, j+1
}

func (h *heapOrder) Push(x any) {
	s := x.(*Stream)
	h.streams = append(h.streams, s)
	s.heapIndex = len(h.streams)
}

func (h *heapOrder) Pop() any {
	n := len(h.streams) - 1
	s := h.streams[n]
	h.streams[n] = nil
	h.streams = h.streams[:n]
	s.heapIndex = 0
	return s
}

// agedList holds streams in the order in which they became dirty.
type agedList struct {
	first, last *Stream
	n           int
}

// agedLink is a stream's place in the list.
type agedLink struct {
	listed     bool
	since      time.Time
	next, prev *Stream
}

// push adds s at the end and tells whether it is now the only one.
func (l *agedList) push(s *Stream, since time.Time) bool {
	s.aged = agedLink{listed: true, since: since, prev: l.last}
	if l.last == nil {
		l.first = s
	} else {
		l.last.aged.next = s
	}
	l.last = s
	l.n++
	return l.n == 1
}

func (l *agedList) remove(s *Stream) {
	if !s.aged.listed {
		return
	}
	if s.aged.prev == nil {
		l.first = s.aged.next
	} else {
		s.aged.prev.aged.next = s.aged.next
	}
	if s.aged.next == nil {
		l.last = s.aged.prev
	} else {
		s.aged.next.aged.prev = s.aged.prev
	}
	s.aged = agedLink{}
	l.n--
}
