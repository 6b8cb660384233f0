package share

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// The headers that say where a dead letter comes from, as Kafka 4.4 writes them (KIP-1191), all of them text.
const (
	headerTopic      = "__dlq.errors.topic"
	headerPartition  = "__dlq.errors.partition"
	headerOffset     = "__dlq.errors.offset"
	headerGroup      = "__dlq.errors.group"
	headerDeliveries = "__dlq.errors.delivery.count"
	headerMessage    = "__dlq.errors.message"
)

// What one copy, a batch, holds at most; a larger record makes one alone.
const (
	copyRecords = 200
	copyBytes   = 512 << 10
)

// letter is a dead letter's copy on its way: the records of a run of offsets, which are all there.
type letter struct {
	of      share.Batch
	records []private.LeasedRecord
	codec   record.Codec // of the copy
	intent  *share.Intent
}

func (c *letter) span() window.Span { return window.Span{First: c.of.First, Last: c.of.Last} }

// oversize is a dead letter that its target does not take. A size of 0: there is none.
type oversize struct {
	offset      int64
	size, limit int // bytes
	more        int // others like it
}

func (o *oversize) note(offset int64, size, limit int) {
	if o.size > 0 {
		o.more++
		return
	}
	*o = oversize{offset: offset, size: size, limit: limit}
}

// digger reads dead letters and makes copies of them.
type digger struct {
	p      *partition
	most   int // bytes of a batch that is not lost for being larger
	plain  int // bytes of a batch that the target takes; a larger record is compressed as its source is
	whole  bool
	each   int // records of a copy
	copies []letter
	lost   []window.Span // hold no record, or none that can be copied
	large  oversize      // the first that is larger than the target takes
	size   int           // of the last of copies, about
	codec  record.Codec  // of the batch that is gone over
	buf    []byte
}

func (p *partition) digger(s *settings, to destination) *digger {
	p.mu.Lock()
	defer p.mu.Unlock()
	takes := to.part.Settings().MaxMessageBytes
	d := &digger{p: p, most: takes, plain: takes, whole: s.DeadLetterCopy, each: copyRecords}
	if p.mu.dead.alone {
		d.each = 1
	}
	return d
}

// dig reads dead letters, as many as make up to five copies for a target.
func (p *partition) dig(s *settings, waiting []share.Batch, to destination) (copies []letter, lost []window.Span, err error) {
	d := p.digger(s, to)
	defer func() { p.tellOversize(d.large) }()
	for i := range waiting {
		more, err := d.batch(waiting[i])
		if err != nil {
			return nil, nil, err
		}
		if !more {
			break
		}
	}
	return d.copies, d.lost, nil
}

// batch reads one run of dead letters; false: there is no room for more.
func (d *digger) batch(b share.Batch) (more bool, err error) {
	cursor := b.First
	for cursor <= b.Last {
		got, err := d.p.part.Read(replica.Read{Offset: cursor, MaxBytes: copyBytes, AtLeastOne: true, Epoch: d.p.epoch, LastEpoch: -1})
		if err != nil {
			return false, err
		}
		if got.Slice.Len == 0 {
			break // nothing is there any more
		}
		d.buf, err = got.Slice.Bytes(d.buf[:0])
		got.Slice.Release()
		if err != nil {
			return false, err
		}
		for rest := d.buf; len(rest) > 0 && cursor <= b.Last; {
			var batch record.Batch
			if batch, rest, err = record.First(rest); err != nil {
				return false, err
			}
			if batch.LastOffset() < cursor || batch.BaseOffset() > b.Last {
				continue
			}
			if cursor, more = d.records(b, batch, cursor); !more {
				return false, nil
			}
		}
		if cursor < got.Slice.End {
			d.lose(cursor, min(b.Last, got.Slice.End-1))
			cursor = got.Slice.End
		}
	}
	d.lose(cursor, b.Last)
	return true, nil
}

// records goes over a record batch's part of a run, and answers where it came to; false: there is no room for more.
func (d *digger) records(b share.Batch, batch record.Batch, cursor int64) (next int64, more bool) {
	end := min(b.Last, batch.LastOffset())
	if batch.IsControl() {
		d.lose(cursor, end)
		return end + 1, true
	}
	r, err := batch.Records(0)
	if err != nil {
		d.lose(cursor, end)
		return end + 1, true
	}
	defer r.Close()
	d.codec = batch.Codec()
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok || rec.Offset > end {
			d.lose(cursor, end)
			return end + 1, true
		}
		if rec.Offset < cursor {
			continue
		}
		d.lose(cursor, rec.Offset-1)
		cursor = rec.Offset
		if !d.add(b, &rec) {
			return cursor, false
		}
		cursor++
	}
}

func (d *digger) lose(first, last int64) {
	if first <= last {
		d.lost = append(d.lost, window.Span{First: first, Last: last})
	}
}

// add puts a record into the last copy or begins one; false: there are enough.
func (d *digger) add(b share.Batch, rec *record.Record) bool {
	around, codec := copyOverhead+len(d.p.key.Group)+len(d.p.part.Topic), record.None
	size := around
	if d.whole {
		size += sizeOf(rec) + headerLengths(rec)
	}
	if size+record.HeaderSize > d.plain {
		if d.whole && d.codec != record.None {
			codec, size = d.codec, around+compressed(rec, d.codec)
		}
		if size+record.HeaderSize > d.most {
			d.large.note(rec.Offset, size+record.HeaderSize, d.most)
			d.lose(rec.Offset, rec.Offset)
			return true
		}
	}
	if n := len(d.copies); n > 0 {
		c := &d.copies[n-1]
		if c.of.Last+1 == rec.Offset && rec.Offset > b.First && len(c.records) < d.each && c.codec == codec && codec == record.None &&
			d.size+size+record.HeaderSize <= min(copyBytes, d.most) {
			c.of.Last, d.size = rec.Offset, d.size+size
			c.records = append(c.records, leased(rec, sizeOf(rec)))
			return true
		}
		if n == mostIntents {
			return false
		}
	}
	b.First, b.Last = rec.Offset, rec.Offset
	d.copies, d.size = append(d.copies, letter{of: b, records: []private.LeasedRecord{leased(rec, sizeOf(rec))}, codec: codec}), size
	return true
}

// compressed is how many bytes a record takes in a batch of its own that is compressed.
func compressed(r *record.Record, codec record.Codec) int {
	var b record.Builder
	b.Reset(record.Spec{Codec: codec})
	headers := make([]record.Header, 0, r.NumHeaders())
	for name, value := range r.Headers() {
		headers = append(headers, record.Header{Name: string(name), Value: value})
	}
	b.Append(r.Timestamp, r.Key, r.Value, headers...)
	batch, err := b.Build()
	if err != nil {
		return math.MaxInt32
	}
	return len(batch) - record.HeaderSize
}

// headerLengths is what the lengths of a record's headers take, in bytes.
func headerLengths(r *record.Record) (n int) {
	var b [binary.MaxVarintLen64]byte
	for name, value := range r.Headers() {
		n += binary.PutVarint(b[:], int64(len(name))) + binary.PutVarint(b[:], int64(len(value)))
	}
	return n
}

// quietFor is how long a partition says nothing more of dead letters that are too large after it has told of one.
const quietFor = time.Minute

// tellOversize tells of a dead letter that is dropped because its topic does not take it.
func (p *partition) tellOversize(o oversize) {
	if o.size == 0 {
		return
	}
	now := p.e.now()
	p.mu.Lock()
	quiet := now.Before(p.mu.dead.quiet)
	if !quiet {
		p.mu.dead.quiet = now.Add(quietFor)
	}
	p.mu.Unlock()
	if quiet {
		return
	}
	p.e.o.Log.Error("a dead letter is larger than its topic takes: it is dropped, and counted as rejected", zap.Stringer("partition", p.key),
		zap.Int64("offset", o.offset), zap.Int("bytes", o.size), zap.Int("max.message.bytes", o.limit), zap.Int("others", o.more))
}

// copyOverhead is about what a copy is larger than its record: its headers, and lengths.
const copyOverhead = 400

// build encodes a copy as one idempotent batch.
func (p *partition) build(s *settings, c *letter, b *record.Builder) (record.Batch, error) {
	b.Reset(record.Spec{Codec: c.codec, Producer: &record.Producer{ID: c.intent.ProducerID, Epoch: c.intent.Epoch, Sequence: c.intent.Sequence}})
	now := time.Now().UnixMilli()
	for i := range c.records {
		r := &c.records[i]
		var key, value []byte
		var headers []record.Header
		if s.DeadLetterCopy {
			key, value = r.Key, r.Value
			for _, h := range r.Headers {
				headers = append(headers, record.Header{Name: h.Key, Value: h.Value})
			}
		}
		b.Append(now, key, value, append(headers, p.origin(c, r.Offset)...)...)
	}
	return b.Build()
}

// origin is the headers that say where a dead letter comes from.
func (p *partition) origin(c *letter, offset int64) []record.Header {
	return []record.Header{
		{Name: headerTopic, Value: []byte(p.part.Topic)},
		{Name: headerPartition, Value: strconv.AppendInt(nil, int64(p.key.Partition), 10)},
		{Name: headerOffset, Value: strconv.AppendInt(nil, offset, 10)},
		{Name: headerGroup, Value: []byte(p.key.Group)},
		{Name: headerDeliveries, Value: strconv.AppendInt(nil, int64(c.of.Deliveries), 10)},
		{Name: headerMessage, Value: []byte(c.intent.Cause)},
	}
}
