package cleaner

import (
	"sort"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// transactions tells, while batches go by in offset order, which belong to an aborted
// transaction, and which markers have nothing left to mark.
type transactions struct {
	pending []segment.AbortedTxn // by first offset, not yet reached
	open    map[int64]int64      // producers whose transaction at hand was aborted, and where its marker is or was
	data    map[int64]bool       // producers of whose transaction at hand data is left
}

func newTransactions(aborted []segment.AbortedTxn) *transactions {
	sort.Slice(aborted, func(i, j int) bool { return aborted[i].FirstOffset < aborted[j].FirstOffset })
	return &transactions{pending: aborted, open: map[int64]int64{}, data: map[int64]bool{}}
}

// aborted notes a data batch and tells whether its transaction was aborted.
func (t *transactions) aborted(b record.Batch) bool {
	t.reach(b.LastOffset())
	marker, ok := t.open[b.ProducerID()]
	return ok && b.IsTransactional() && b.LastOffset() < marker
}

// kept notes that records of a transactional batch stay.
func (t *transactions) kept(b record.Batch) {
	if b.IsTransactional() {
		t.data[b.ProducerID()] = true
	}
}

// marker notes a control batch and tells whether nothing of its transaction is left.
func (t *transactions) marker(b record.Batch) (empty bool) {
	t.reach(b.LastOffset())
	id := b.ProducerID()
	empty = !t.data[id]
	delete(t.open, id)
	delete(t.data, id)
	return empty
}

func (t *transactions) reach(offset int64) {
	for len(t.pending) > 0 && t.pending[0].FirstOffset <= offset {
		t.open[t.pending[0].ProducerID] = t.pending[0].LastOffset
		t.pending = t.pending[1:]
	}
}
