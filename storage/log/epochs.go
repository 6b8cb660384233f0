package log

import (
	"slices"
	"sort"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// noEpoch is Kafka's undefined epoch and offset.
const noEpoch = -1

// AssignEpoch notes that a leader of this epoch begins at the log's end. It reaches the disk with the first record of that epoch, so
// that leaders that come and go cost idle logs nothing.
func (l *Log) AssignEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dirty := l.on.dirtyEpochs
	if l.assignEpochLocked(epoch, l.end.Load()) {
		l.on.dirtyEpochs, l.on.newEpoch = dirty, true
	}
}

// assignEpochLocked adds an epoch that begins at offset. Entries that begin there or later, or are of that epoch or a later one,
// held no records and go, so that epochs and offsets both rise. It answers whether anything changed.
func (l *Log) assignEpochLocked(epoch int32, offset int64) bool {
	old := *l.epochs.Load()
	if n := len(old); epoch < 0 || n > 0 && old[n-1].Epoch == epoch {
		return false
	}
	keep := len(old)
	for keep > 0 && (old[keep-1].Epoch >= epoch || old[keep-1].Start >= offset) {
		keep--
	}
	l.setEpochsLocked(append(slices.Clone(old[:keep]), segment.EpochEntry{Epoch: epoch, Start: offset}))
	return true
}

func (l *Log) setEpochsLocked(entries []segment.EpochEntry) {
	l.epochs.Store(&entries)
	l.on.dirtyEpochs = true
}

// cutEpochsLocked drops epochs that begin at end or later.
func (l *Log) cutEpochsLocked(end int64) {
	old := *l.epochs.Load()
	keep := len(old)
	for keep > 0 && old[keep-1].Start >= end {
		keep--
	}
	if keep < len(old) {
		l.setEpochsLocked(slices.Clone(old[:keep]))
	}
}

// raiseEpochsLocked lets no epoch begin before start, and drops those that end before it.
func (l *Log) raiseEpochsLocked(start int64) {
	old := *l.epochs.Load()
	first := 0
	for first+1 < len(old) && old[first+1].Start <= start {
		first++
	}
	if len(old) == 0 || first == 0 && old[0].Start >= start {
		return
	}
	fresh := slices.Clone(old[first:])
	fresh[0].Start = max(fresh[0].Start, start)
	l.setEpochsLocked(fresh)
}

// LatestEpoch is the last epoch that something was appended under or AssignEpoch named, -1 for none.
func (l *Log) LatestEpoch() int32 { return latestEpoch(*l.epochs.Load()) }

func latestEpoch(entries []segment.EpochEntry) int32 {
	if len(entries) == 0 {
		return noEpoch
	}
	return entries[len(entries)-1].Epoch
}

// EpochOf is the epoch that the record at offset was appended under, or will be, -1 when it is unknown.
func (l *Log) EpochOf(offset int64) int32 {
	entries := *l.epochs.Load()
	i := sort.Search(len(entries), func(i int) bool { return entries[i].Start > offset })
	if i == 0 {
		return noEpoch
	}
	return entries[i-1].Epoch
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch (KIP-101, KIP-279): the largest epoch not above the one asked for and the
// offset at which it ends. -1, -1 for an epoch above all of the log's; an epoch below all of them ends where the first begins.
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) {
	entries := *l.epochs.Load()
	i := sort.Search(len(entries), func(i int) bool { return entries[i].Epoch > epoch })
	switch {
	case epoch == noEpoch:
		return noEpoch, noEpoch
	case i == len(entries) && i > 0 && entries[i-1].Epoch == epoch:
		return epoch, l.End()
	case i == len(entries):
		return noEpoch, noEpoch
	case i == 0:
		return epoch, entries[0].Start
	}
	return entries[i-1].Epoch, entries[i].Start
}
