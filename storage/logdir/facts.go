package logdir

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// factSpace holds one row a log:
//
//	key    topic id                      16 bytes
//	       partition                     uint32, big endian
//	value  recovery point                int64
//	       log start                     int64
//	       cleaner's checkpoint          int64
//	       state of the last clean stop  the rest; believed only with the clean mark
var factSpace = kv.NewSpace("logdir", "facts")

const (
	factKeySize = 20
	factSize    = 24
)

// facts is what is known of a log that its own files do not say.
type facts struct {
	recoveryPoint, start, cleanedTo int64
	state                           []byte
}

func factKey(k journal.Key) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, factKeySize), k.Topic[:]...), uint32(k.Partition))
}

func (f *facts) encode() []byte {
	b := make([]byte, 0, factSize+len(f.state))
	for _, v := range []int64{f.recoveryPoint, f.start, f.cleanedTo} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return append(b, f.state...)
}

func decodeFacts(b []byte) (facts, error) {
	if len(b) < factSize {
		return facts{}, fmt.Errorf("logdir: facts of %d bytes, want %d or more", len(b), factSize)
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return facts{at(0), at(1), at(2), append([]byte(nil), b[factSize:]...)}, nil
}

// loadFacts reads the facts of every log in one scan.
func (d *Dir) loadFacts() error {
	it, err := d.kv.Iter(factSpace, nil, nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		if len(key) != factKeySize {
			return errors.Join(fmt.Errorf("logdir: fact key of %d bytes", len(key)), it.Close())
		}
		f, err := decodeFacts(it.Value())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		var k journal.Key
		copy(k.Topic[:], key)
		k.Partition = int32(binary.BigEndian.Uint32(key[16:]))
		d.known[k] = f
	}
	return it.Close()
}

// record makes facts durable for some logs; change edits each one's.
func (d *Dir) record(keys []journal.Key, change func(i int, f *facts)) error {
	b := d.kv.NewBatch()
	defer b.Close()
	d.factMu.Lock()
	defer d.factMu.Unlock()
	for i, k := range keys {
		f := d.known[k]
		f.state = nil // of a life that is over
		change(i, &f)
		d.known[k] = f
		b.Set(factSpace, factKey(k), f.encode())
	}
	return b.Commit(true)
}

// recordPoints is the flusher's Record: recovery points made durable, many at a time.
func (d *Dir) recordPoints(points []journal.Point) error {
	keys := make([]journal.Key, len(points))
	for i, p := range points {
		keys[i] = p.Key
	}
	return d.record(keys, func(i int, f *facts) {
		f.recoveryPoint = points[i].End
		if l := d.find(points[i].Key); l != nil {
			f.start, f.cleanedTo = max(f.start, l.Start()), l.CleanedTo()
		}
	})
}

// recovery is what a log is opened with.
func (d *Dir) recovery(k journal.Key) (log.Recovery, error) {
	d.factMu.Lock()
	f, known := d.known[k]
	d.factMu.Unlock()
	r := log.Recovery{RecoveryPoint: f.recoveryPoint, Promised: f.recoveryPoint, Start: f.start, CleanedTo: f.cleanedTo}
	if d.clean {
		if state, err := log.ParseState(f.state); known && err == nil {
			r.Clean, r.State = true, state
			return r, nil
		}
	}
	if d.replayed == nil {
		return r, nil
	}
	if h := d.replayed.Logs[k]; h != nil {
		if h.Voided {
			r.Promised = 0
		}
		r.Promised = max(r.Promised, h.Promised)
	}
	r.Promised = max(r.Promised, r.RecoveryPoint)
	err := d.replayed.Entries(k, func(e journal.Entry) error {
		r.Entries = append(r.Entries, log.Entry{Base: e.Base, End: e.End, Batches: e.Batches})
		return nil
	})
	return r, err
}
