package share

import "github.com/google/btree"

// ranges are batches by offset that do not overlap; neighbours that differ in nothing but their offsets are one. Every change
// costs the logarithm of their number, for each batch that it adds or takes away.
type ranges struct {
	tree    *btree.BTreeG[Batch]
	settled int64   // offsets in final batches
	holders int     // bytes of the holders' names, counted for each batch
	found   []Batch // space to work in
	journal *journal
}

// journal is what a change did, to take it back.
type journal struct {
	steps []step
}

type step struct {
	put   bool
	batch Batch
}

func newRanges() *ranges {
	return &ranges{tree: btree.NewG(32, func(a, b Batch) bool { return a.First < b.First })}
}

func (t *ranges) len() int { return t.tree.Len() }

// weight is what keeping them in memory takes, roughly, in bytes.
func (t *ranges) weight() int64 { return int64(t.tree.Len())*rangeBytes + int64(t.holders) }

const rangeBytes = 96

func (t *ranges) put(b Batch) {
	t.tree.ReplaceOrInsert(b)
	t.count(&b, 1)
	if t.journal != nil {
		t.journal.steps = append(t.journal.steps, step{true, b})
	}
}

func (t *ranges) drop(b Batch) {
	t.tree.Delete(b)
	t.count(&b, -1)
	if t.journal != nil {
		t.journal.steps = append(t.journal.steps, step{false, b})
	}
}

func (t *ranges) count(b *Batch, sign int64) {
	if b.State.Final() {
		t.settled += sign * (b.Last - b.First + 1)
	}
	t.holders += int(sign) * len(b.Holder)
}

// undo takes back what the journal has and forgets it.
func (t *ranges) undo() {
	j := t.journal
	t.journal = nil
	for i := len(j.steps) - 1; i >= 0; i-- {
		if s := j.steps[i]; s.put {
			t.drop(s.batch)
		} else {
			t.put(s.batch)
		}
	}
}

// at is the batch that an offset is in.
func (t *ranges) at(offset int64) (b Batch, ok bool) {
	t.tree.DescendLessOrEqual(Batch{First: offset}, func(v Batch) bool {
		b, ok = v, v.Last >= offset
		return false
	})
	return b, ok
}

// overlaps lists the batches that have an offset of a range, good until the next call.
func (t *ranges) overlaps(first, last int64) []Batch {
	t.found = t.found[:0]
	if b, ok := t.at(first); ok && b.First < first {
		t.found = append(t.found, b)
	}
	t.tree.AscendGreaterOrEqual(Batch{First: first}, func(b Batch) bool {
		if b.First > last {
			return false
		}
		t.found = append(t.found, b)
		return true
	})
	return t.found
}

// replace makes a batch the state of its offsets.
func (t *ranges) replace(b Batch) {
	for _, old := range t.overlaps(b.First, b.Last) {
		t.drop(old)
		if old.First < b.First {
			rest := old
			rest.Last = b.First - 1
			t.put(rest)
		}
		if old.Last > b.Last {
			rest := old
			rest.First = b.Last + 1
			t.put(rest)
		}
	}
	if b.First > 0 {
		if left, ok := t.at(b.First - 1); ok && alike(&left, &b) {
			t.drop(left)
			b.First = left.First
		}
	}
	if right, ok := t.tree.Get(Batch{First: b.Last + 1}); ok && alike(&right, &b) {
		t.drop(right)
		b.Last = right.Last
	}
	t.put(b)
}

// fill makes batches the ranges, which must be empty; it is quick where they come in order.
func (t *ranges) fill(batches []Batch) {
	var last Batch
	for i := range batches {
		b := &batches[i]
		if i > 0 && (b.First <= last.Last || b.First == last.Last+1 && alike(&last, b)) {
			for _, b := range batches[i:] {
				t.replace(b)
			}
			return
		}
		t.put(*b)
		last = *b
	}
}

// alike tells whether two batches differ in nothing but their offsets.
func alike(a, b *Batch) bool {
	return a.State == b.State && a.Deliveries == b.Deliveries && a.Failures == b.Failures && a.Holder == b.Holder && a.Until == b.Until &&
		(a.Intent == b.Intent || a.Intent != nil && b.Intent != nil && *a.Intent == *b.Intent)
}

// merge is how Kafka's records change a state: of an offset the batch with more deliveries stands, of equals the one whose
// state has the higher number.
func (t *ranges) merge(b Batch) {
	var wins []Batch
	from := b.First
	for _, old := range t.overlaps(b.First, b.Last) {
		if outranks(&b, &old) {
			continue
		}
		if old.First > from {
			wins = append(wins, cut(b, from, old.First-1))
		}
		from = old.Last + 1
	}
	if from <= b.Last {
		wins = append(wins, cut(b, from, b.Last))
	}
	for _, part := range wins {
		t.replace(part)
	}
}

func outranks(a, b *Batch) bool {
	if a.Deliveries != b.Deliveries {
		return a.Deliveries > b.Deliveries
	}
	return a.State > b.State
}

func cut(b Batch, first, last int64) Batch {
	b.First, b.Last = first, last
	return b
}

// dropBelow forgets the offsets below start.
func (t *ranges) dropBelow(start int64) {
	for {
		b, ok := t.tree.Min()
		if !ok || b.First >= start {
			return
		}
		t.drop(b)
		if b.Last >= start {
			t.put(cut(b, start, b.Last))
			return
		}
	}
}

// settledPrefix is the first offset from start on that is not settled.
func (t *ranges) settledPrefix(start int64) int64 {
	for {
		b, ok := t.at(start)
		if !ok || !b.State.Final() {
			return start
		}
		start = b.Last + 1
	}
}

// each calls fn for all of them, in order.
func (t *ranges) each(fn func(*Batch)) {
	t.tree.Ascend(func(b Batch) bool {
		fn(&b)
		return true
	})
}

// list is a copy of all of them, in order.
func (t *ranges) list() []Batch {
	all := make([]Batch, 0, t.tree.Len())
	t.tree.Ascend(func(b Batch) bool {
		all = append(all, b)
		return true
	})
	return all
}
