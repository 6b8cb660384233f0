package runtime

import (
	"bytes"
	"sort"
	"strings"
)

// delta holds the rows of records that are in the log and not yet in the view.
type delta map[string]deltaRow

type deltaRow struct {
	value  []byte // nil: deleted
	offset int64  // of the record that made the row
}

// mark remembers that the record at offset made a row, for when the view has it.
type mark struct {
	key    string
	offset int64
}

// forget drops the rows of marks below upTo, unless a later record made them again, and
// answers the other marks.
func (d delta) forget(marks []mark, upTo int64) []mark {
	n := 0
	for ; n < len(marks) && marks[n].offset < upTo; n++ {
		if row, ok := d[marks[n].key]; ok && row.offset < upTo {
			delete(d, marks[n].key)
		}
	}
	return dropFirst(marks, n)
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
	delta delta
	view  Reader
}

func (l live) Get(key []byte) ([]byte, bool, error) {
	if row, ok := l.delta[string(key)]; ok {
		return row.value, row.value != nil, nil
	}
	return l.view.Get(key)
}

func (l live) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	over := l.over(prefix, from)
	more := true
	// emit hands out the delta's rows up to the key, or all of them.
	emit := func(upTo []byte, all bool) {
		for more && len(over) > 0 && (all || over[0] < string(upTo)) {
			if row := l.delta[over[0]]; row.value != nil {
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

// over lists the delta's keys in a range, sorted.
func (l live) over(prefix, from []byte) []string {
	var keys []string
	for key := range l.delta {
		if strings.HasPrefix(key, string(prefix)) && key >= string(from) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
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
	w.delta[key] = deltaRow{value, w.offset}
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
