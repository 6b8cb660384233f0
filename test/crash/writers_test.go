package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writer is one producer, and what the broker acknowledged to it. Its values count up for each partition:
//
//	 0  number of the writer           uint32
//	 4  partition                      uint32
//	 8  number of the record           uint64
//	16  CRC-32C of what follows        uint32
//	20  filler
type writer struct {
	topic              string
	partitions         int32
	burst, size, pause span // records at a time, bytes of filler, ms
	acks1              bool // acks=1 and not idempotent: repeats are allowed
	codec              kgo.CompressionCodec
	keys               int // above 0: records have one of so many keys of the writer's own, and some are tombstones

	l  *load
	id uint32
	cl *kgo.Client
	marker

	mu      sync.Mutex
	streams []stream // by partition
}

// stream is what one writer sent to one partition.
type stream struct {
	acked []int64        // offset by number of record; unacked for those without an answer
	last  map[string]int // by key, the number of the last record; of tombstones -1-number
}

const (
	unacked   = -1
	valueHead = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (l *load) writer(w *writer) {
	w.l, w.id = l, uint32(len(l.writers))
	w.streams = make([]stream, w.partitions)
	for i := range w.streams {
		w.streams[i].last = map[string]int{}
	}
	opts := []kgo.Opt{kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1000), kgo.StopProducerOnDataLossDetected(), kgo.ProducerBatchCompression(kgo.NoCompression())}
	if w.codec != (kgo.CompressionCodec{}) {
		opts = append(opts, kgo.ProducerBatchCompression(w.codec))
	}
	if w.acks1 {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	w.cl = l.client(opts...)
	l.writers = append(l.writers, w)
	l.work.Go(w.run)
}

func (w *writer) run() {
	rng := w.l.rng(100 + uint64(w.id))
	for w.l.pause(time.Duration(w.pause.draw(rng)) * time.Millisecond) {
		p := int32(rng.IntN(int(w.partitions)))
		for range w.burst.draw(rng) {
			w.send(w.next(rng, p))
		}
	}
}

// next makes the next record for a partition.
func (w *writer) next(rng *rand.Rand, p int32) *kgo.Record {
	value := make([]byte, valueHead+w.size.draw(rng))
	fill(rng, value[valueHead:])
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.streams[p]
	number := len(s.acked)
	s.acked = append(s.acked, unacked)
	binary.BigEndian.PutUint32(value, w.id)
	binary.BigEndian.PutUint32(value[4:], uint32(p))
	binary.BigEndian.PutUint64(value[8:], uint64(number))
	binary.BigEndian.PutUint32(value[16:], crc32.Checksum(value[valueHead:], castagnoli))
	r := &kgo.Record{Partition: p, Value: value}
	if w.keys > 0 {
		key := fmt.Sprintf("%d-%d", w.id, rng.IntN(w.keys))
		r.Key = []byte(key)
		s.last[key] = number
		if rng.IntN(10) == 0 {
			// A tombstone has no value to tell its number, so a header does.
			r.Headers, r.Value = []kgo.RecordHeader{{Key: "head", Value: value[:valueHead]}}, nil
			s.last[key] = -1 - number
		}
	}
	return r
}

// fill makes bytes that compress to about a half.
func fill(rng *rand.Rand, b []byte) {
	for i := 0; i < len(b); i += 16 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rng.Uint64())
		copy(b[i:], word[:])
	}
}

// send produces a record; the client tries until the broker acknowledged it, over any number of restarts.
func (w *writer) send(r *kgo.Record) {
	w.mu.Lock()
	number := len(w.streams[r.Partition].acked) - 1
	w.mu.Unlock()
	p := r.Partition
	w.cl.Produce(w.cl.Context(), r, func(r *kgo.Record, err error) {
		if err != nil {
			if !errors.Is(err, kgo.ErrClientClosed) {
				w.l.fail("producer %d of %s: record %d of partition %d: %w", w.id, w.topic, number, p, err)
			}
			return
		}
		w.mu.Lock()
		w.streams[p].acked[number] = r.Offset
		w.mu.Unlock()
		w.hit()
	})
}

// sent is a copy of a stream as it is now.
func (w *writer) sent(p int32) []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]int64(nil), w.streams[p].acked...)
}

// acknowledged is how many records the load has acknowledged so far.
func (l *load) acknowledged() (n int) {
	for _, w := range l.writers {
		for p := range w.streams {
			for _, offset := range w.sent(int32(p)) {
				if offset != unacked {
					n++
				}
			}
		}
	}
	return n
}

// origin is what a record says of where it comes from.
type origin struct {
	writer uint32
	number int
}

// parse takes a record apart and checks that it is as it was sent.
func (l *load) parse(r *kgo.Record) (origin, error) {
	head, filler := r.Value, []byte(nil)
	if r.Value == nil && len(r.Headers) == 1 {
		head = r.Headers[0].Value
	} else if len(head) >= valueHead {
		filler = head[valueHead:]
	}
	if len(head) < valueHead {
		return origin{}, fmt.Errorf("a value of %d bytes", len(head))
	}
	o := origin{binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint64(head[8:]))}
	switch {
	case int(o.writer) >= len(l.writers) || l.writers[o.writer].topic != r.Topic:
		return o, fmt.Errorf("writer %d does not write to this topic", o.writer)
	case int32(binary.BigEndian.Uint32(head[4:])) != r.Partition:
		return o, fmt.Errorf("a record for partition %d", binary.BigEndian.Uint32(head[4:]))
	case filler != nil && crc32.Checksum(filler, castagnoli) != binary.BigEndian.Uint32(head[16:]):
		return o, fmt.Errorf("record %d of writer %d has other bytes than were sent", o.number, o.writer)
	}
	return o, nil
}

// requireAllAcked is for after stop.
func (l *load) requireAllAcked() {
	for _, w := range l.writers {
		for p := range w.streams {
			for number, offset := range w.sent(int32(p)) {
				require.NotEqual(l.t, int64(unacked), offset, "producer %d of %s: record %d of partition %d", w.id, w.topic, number, p)
			}
		}
	}
}
