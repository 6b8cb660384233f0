package runtime

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// delta holds the rows of records that are in the log and not yet in the view.
//
// Their keys are put in order when a scan asks for that, and stay so until rows enough have come and gone: decisions may
// scan for each of many rows, and a delta without scans pays nothing.
type delta struct {
	rows  map[string]deltaRow
	order []string // keys in order, some of which may be gone; nil if nobody asked
	added []string // keys since then
}

func newDelta() *delta { return &delta{rows: map[string]deltaRow{}} }

type deltaRow struct {
	value  []byte // nil: deleted
	offset int64  // of the record that made the row
}

// mark remembers that the record at offset made a row, for when the view has it.
type mark struct {
	key    string
	offset int64
}

// enter makes a row.
func (d *delta) enter(key string, row deltaRow) {
	if d.order != nil {
		if _, ok := d.rows[key]; !ok {
			d.added = append(d.added, key)
		}
	}
	d.rows[key] = row
	d.trim()
}

// forget drops the rows of marks below upTo, unless a later record made them again, and
// answers the other marks.
func (d *delta) forget(marks []mark, upTo int64) []mark {
	n := 0
	for ; n < len(marks) && marks[n].offset < upTo; n++ {
		if row, ok := d.rows[marks[n].key]; ok && row.offset < upTo {
			delete(d.rows, marks[n].key)
		}
	}
	d.trim()
	return dropFirst(marks, n)
}

// trim forgets the order when most of it is of rows that are gone.
func (d *delta) trim() {
	if len(d.order)+len(d.added) > 2*len(d.rows)+keepQueue {
		d.order, d.added = nil, nil
	}
}

func (d *delta) clear() {
	clear(d.rows)
	d.order, d.added = nil, nil
}

// keys lists the keys in a range, sorted.
func (d *delta) keys(prefix, from string) []string {
	switch {
	case len(d.rows) == 0:
		return nil
	case d.order == nil:
		d.order = slices.Sorted(maps.Keys(d.rows))
	case len(d.added) > 0:
		slices.Sort(d.added)
		d.added = slices.Compact(d.added) // keys that went and came again in between
		d.order, d.added = merge(d.order, d.added), d.added[:0]
	}
	at, _ := slices.BinarySearch(d.order, max(prefix, from))
	var keys []string
	for _, key := range d.order[at:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if _, ok := d.rows[key]; ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// merge is a new list of what is in one of two sorted ones.
func merge(a, b []string) []string {
	all := make([]string, 0, len(a)+len(b))
	for _, key := range b {
		n, found := slices.BinarySearch(a, key)
		all = append(all, a[:n]...)
		a = a[n:]
		if found {
			a = a[1:]
		}
		all = append(all, key)
	}
	return append(all, a...)
}

// dropFirst takes the first n elements out of a queue. What is left stays where the array
// begins, so that a queue that empties now and then needs no new one.
func dropFirst[T any](queue []T, n int) []T {
	rest := copy(queue, queue[n:])
	clear(queue[rest:])
	if rest == 0 && cap(queue) > keepQueue {
		return nil
	}
	return queue[:rest]
}

// keepQueue bounds the space that an idle shard keeps for each of its queues.
const keepQueue = 256

// live is the table that decisions see: the delta on top of the view.
type live struct {
	delta *delta
	view  Reader
}

func (l live) Get(key []byte) ([]byte, bool, error) {
	if row, ok := l.delta.rows[string(key)]; ok {
		return row.value, row.value != nil, nil
	}
	return l.view.Get(key)
}

func (l live) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	over := l.delta.keys(string(prefix), string(from))
	more := true
	// emit hands out the delta's rows up to the key, or all of them.
	emit := func(upTo []byte, all bool) {
		for more && len(over) > 0 && (all || over[0] < string(upTo)) {
			if row := l.delta.rows[over[0]]; row.value != nil {
				more = fn([]byte(over[0]), row.value)
			}
			over = over[1:]
		}
	}
	err := l.view.Scan(prefix, from, func(key, value []byte) bool {
		emit(key, false)
		if !more {
			return false
		}
		if len(over) > 0 && over[0] == string(key) {
			return true // replaced or deleted; emit hands out the new value next
		}
		more = fn(key, value)
		return more
	})
	if err != nil {
		return err
	}
	emit(nil, true)
	return nil
}

// deltaWriter enters the rows of one entry into the delta.
type deltaWriter struct {
	live
	offset int64
	marks  []mark
}

func (w *deltaWriter) Set(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	w.enter(string(key), value)
	return nil
}

func (w *deltaWriter) Delete(key []byte) error {
	w.enter(string(key), nil)
	return nil
}

func (w *deltaWriter) enter(key string, value []byte) {
	w.delta.enter(key, deltaRow{value, w.offset})
	w.marks = append(w.marks, mark{key, w.offset})
}

// Raw is the usual choice for Options.Rows: a record is the row of its key, a tombstone
// deletes it. Markers have no row.
func Raw(w Writer, e *Entry) error {
	if e.Marker != nil {
		return nil
	}
	if e.Value == nil {
		return w.Delete(e.Key)
	}
	return w.Set(e.Key, e.Value)
}

// prefixEnd is the first key after all those that begin with prefix, nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
