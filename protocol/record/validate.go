package record

import (
	"fmt"
	"math"
)

// Rules is what a topic and the way of a batch demand of it.
type Rules struct {
	Now int64 // the broker's time in milliseconds
	// Internal: written by the broker itself, which may write control batches, empty ones and any base offset.
	Internal   bool
	Compacted  bool  // cleanup.policy has compact: a record needs a key
	AppendTime bool  // message.timestamp.type=LogAppendTime
	BeforeMax  int64 // message.timestamp.before.max.ms
	AfterMax   int64 // message.timestamp.after.max.ms
	// MaxBytes is max.message.bytes, for the batch as sent and as stored; 0 is no limit.
	MaxBytes int
	// MaxRecordBytes is max.decompressed.message.bytes, for each record of a compressed batch; 0 is no limit.
	MaxRecordBytes int
	// MaxExpansion bounds what a compressed batch may decompress to; 0 is ExpansionLimit of its size.
	MaxExpansion int64
	Compression  Compression // compression.type
}

// DefaultRules are those of a topic with Kafka's default settings, without a limit of size.
func DefaultRules(now int64) Rules {
	return Rules{Now: now, BeforeMax: math.MaxInt64, AfterMax: 3_600_000}
}

// Info is what Validate found out about a batch that may be appended.
type Info struct {
	// Batch is what to store: the batch given, its header corrected in place, or another one where Rebuilt. Only offset and
	// leader epoch are still to be stamped.
	Batch   Batch
	Rebuilt bool
	// MaxTimestamp is the latest timestamp as stored, NoTimestamp if no record has one above -1.
	MaxTimestamp int64
	// MaxTimestampDelta is the offset of the first record with MaxTimestamp, less the base offset; -1 if there is none.
	MaxTimestampDelta int32
	// AppendTime is Rules.Now where the topic has append times, else -1: the answer's log_append_time_ms.
	AppendTime int64
	// Uncompressed is the size of the records without compression, the batch's header not counted.
	Uncompressed int64
}

// Validate checks a produced batch the way Kafka 4.4 does, everything but sequence numbers and segment size, and makes it
// what the topic stores: it corrects b's header in place (timestamp type, max timestamp) or builds another batch, with the
// topic's codec. Errors are *RejectedError, of the first fault in Kafka's order: base offset, size, checksum, codec, header,
// records. Uncompressed records are walked without allocation; compressed ones through a window, keys and values skipped.
// Stricter than Kafka: a record's size must be true in a compressed batch as well, since consumers cannot read it otherwise.
func Validate(b Batch, r Rules) (Info, error) {
	if err := checkBatch(b, &r); err != nil {
		return Info{}, err
	}
	c := newCheck(b, &r)
	if err := c.walk(); err != nil {
		return Info{}, err
	}
	if err := c.recordErrors(); err != nil {
		return Info{}, err
	}
	info := Info{Batch: b, MaxTimestamp: c.maxTimestamp, MaxTimestampDelta: c.maxIndex, AppendTime: -1, Uncompressed: c.size}
	if r.AppendTime {
		info.MaxTimestamp, info.MaxTimestampDelta, info.AppendTime = r.Now, 0, r.Now
	}
	if c.outOfOrder && b.Codec() != None && !c.needsRebuild() {
		// Kafka would count them anew, but has passed over their keys and values by then, and fails.
		return Info{}, rejected(ErrBrokenData, "the records of a compressed batch are not numbered from 0")
	}
	if c.needsRebuild() {
		if err := rebuild(&info, &r); err != nil {
			return Info{}, err
		}
		return info, nil
	}
	b.setMaxTimestamp(r.AppendTime, info.MaxTimestamp)
	return info, nil
}

// checkBatch checks what the header alone can tell.
func checkBatch(b Batch, r *Rules) error {
	if len(b) < HeaderSize || b.Size() != len(b) || b.Magic() != magicV2 {
		return rejected(ErrCorrupt, fmt.Sprintf("%d bytes are not one whole batch", len(b)))
	}
	if !r.Internal && b.BaseOffset() != 0 {
		return rejected(ErrInvalidRecord, fmt.Sprintf("base offset is %d, a producer's must be 0", b.BaseOffset()))
	}
	if err := checkSize(len(b), r); err != nil {
		return err
	}
	if err := b.CheckCRC(); err != nil {
		return rejected(ErrCorrupt, "checksum does not match")
	}
	if !b.Codec().Valid() {
		return rejected(ErrUnknownCodec, b.Codec().String())
	}
	if r.Internal {
		if b.NumRecords() < 0 {
			return rejected(ErrInvalidRecord, fmt.Sprintf("%d records", b.NumRecords()))
		}
		return nil
	}
	return checkProduced(b)
}

func checkSize(size int, r *Rules) error {
	if r.MaxBytes > 0 && size > r.MaxBytes {
		return rejected(ErrTooLarge, fmt.Sprintf("%d bytes, at most %d are allowed", size, r.MaxBytes))
	}
	return nil
}

// checkProduced checks what holds for batches of clients only.
func checkProduced(b Batch) error {
	n, last := b.NumRecords(), b.LastOffsetDelta()
	reason := ""
	switch {
	case last < 0:
		reason = fmt.Sprintf("last offset delta is %d", last)
	case n <= 0:
		reason = fmt.Sprintf("%d records", n)
	case int64(last)+1 != int64(n):
		reason = fmt.Sprintf("%d records, but the last offset delta is %d", n, last)
	case b.IsControl():
		reason = "clients may not write control records"
	case b.HasProducerID() && b.BaseSequence() < 0:
		reason = fmt.Sprintf("sequence number %d with producer id %d", b.BaseSequence(), b.ProducerID())
	default:
		return nil
	}
	return rejected(ErrInvalidRecord, reason)
}

// check is the walk over one batch's records.
type check struct {
	b            Batch
	r            Rules
	baseTime     int64
	headerTime   int64
	special      bool  // the batch claims that its records have append times
	leastKey     int32 // smaller key sizes are suspect
	earliest     int64 // and so are timestamps outside these
	latest       int64
	index        int32 // of the record at hand
	maxIndex     int32
	maxTimestamp int64
	size         int64
	outOfOrder   bool // an offset delta is not the record's index
	badTimestamp bool
	errs         []RecordError
	numErrs      int
}

func newCheck(b Batch, r *Rules) check {
	c := check{
		b: b, r: *r, baseTime: b.BaseTimestamp(), headerTime: b.MaxTimestamp(), special: b.IsAppendTime(),
		leastKey: math.MinInt32, earliest: math.MinInt64, latest: math.MaxInt64, maxTimestamp: NoTimestamp, maxIndex: -1,
	}
	if r.Compacted {
		c.leastKey = 0
	}
	if !r.AppendTime {
		c.earliest = r.Now - r.BeforeMax
		if sum := r.Now + r.AfterMax; sum >= r.Now {
			c.latest = sum
		}
	}
	return c
}

func (c *check) walk() error {
	n := c.b.NumRecords()
	if n == 0 {
		return nil
	}
	var err error
	if c.b.Codec() == None {
		err = c.walkPlain(c.b.Payload(), n)
	} else {
		err = c.walkCompressed(n)
	}
	if err != nil {
		return &RejectedError{Kind: kindOf(err), Reason: fmt.Sprintf("record %d: %v", c.index, err)}
	}
	return nil
}

// walkPlain is the hot path of produce.
func (c *check) walkPlain(p []byte, n int32) error {
	at := 0
	for ; c.index < n; c.index++ {
		u, body := uvarint32(p, at)
		size := int(zigzag32(u))
		if body > len(p) || size < 0 || size > len(p)-body {
			return errEnds
		}
		at = body + size
		timestampDelta, offsetDelta, keySize, ok := scan(p[body:at])
		if !ok {
			return errMalformed
		}
		c.record(timestampDelta, offsetDelta, keySize)
	}
	c.size = int64(len(p))
	if at != len(p) {
		return errSurplus
	}
	return nil
}

func (c *check) walkCompressed(n int32) error {
	s, err := openStream(c.b, c.r.MaxExpansion)
	if err != nil {
		return err
	}
	defer s.close()
	for ; c.index < n; c.index++ {
		if err := c.nextCompressed(s); err != nil {
			return err
		}
	}
	if err := s.atEnd(); err != nil {
		return err
	}
	c.size = s.total
	return nil
}

func (c *check) nextCompressed(s *stream) error {
	size, err := s.size()
	if err != nil {
		return err
	}
	if c.r.MaxRecordBytes > 0 && size > c.r.MaxRecordBytes {
		return fmt.Errorf("%d bytes, at most %d are allowed", size, c.r.MaxRecordBytes)
	}
	if !s.fits(size) {
		var l layout
		if err := s.pass(size, &l); err != nil {
			return err
		}
		c.record(l.timestampDelta, l.offsetDelta, l.keySize)
		return nil
	}
	p, err := s.body(size)
	if err != nil {
		return err
	}
	timestampDelta, offsetDelta, keySize, ok := scan(p)
	if !ok {
		return errMalformed
	}
	c.record(timestampDelta, offsetDelta, keySize)
	return nil
}

// record checks one record that is well formed.
func (c *check) record(timestampDelta int64, offsetDelta, keySize int32) {
	timestamp := c.baseTime + timestampDelta
	if c.special || offsetDelta != c.index || keySize < c.leastKey || timestamp < c.earliest || timestamp > c.latest {
		timestamp = c.suspect(timestamp, offsetDelta, keySize)
	}
	if timestamp > c.maxTimestamp {
		c.maxTimestamp, c.maxIndex = timestamp, c.index
	}
}

// suspect looks closer at a record that record did not pass, and returns the timestamp that counts.
func (c *check) suspect(timestamp int64, offsetDelta, keySize int32) int64 {
	if c.special {
		timestamp = c.headerTime
	}
	if offsetDelta != c.index {
		c.outOfOrder = true
	}
	switch {
	case keySize < c.leastKey:
		c.refuse("a compacted topic takes no record without a key")
	case !c.r.AppendTime && timestamp != NoTimestamp:
		// The difference wraps around like Kafka's, for which -2^63 is a time far ahead.
		if age := c.r.Now - timestamp; age > c.r.BeforeMax || -age > c.r.AfterMax {
			c.badTimestamp = true
			c.refuse(fmt.Sprintf("timestamp %d is not between %d and %d", timestamp, c.r.Now-c.r.BeforeMax, c.r.Now+c.r.AfterMax))
		}
	case c.special:
		c.badTimestamp = true
		c.refuse("a producer may not set the timestamp type to LogAppendTime")
	}
	return timestamp
}

func (c *check) refuse(message string) {
	c.numErrs++
	if len(c.errs) < MaxRecordErrors {
		c.errs = append(c.errs, RecordError{Index: c.index, Message: message})
	}
}

// recordErrors is the refusal of the batch for its records; one bad timestamp among them decides its kind.
func (c *check) recordErrors() error {
	if c.numErrs == 0 {
		return nil
	}
	kind := ErrInvalidRecord
	if c.badTimestamp {
		kind = ErrInvalidTimestamp
	}
	reason := fmt.Sprintf("%d of %d records are refused, the first because %s", c.numErrs, c.b.NumRecords(), c.errs[0].Message)
	return &RejectedError{Kind: kind, Reason: reason, Records: c.errs}
}

// needsRebuild tells whether the batch cannot be stored as it is. A control batch of the broker's own is never compressed.
func (c *check) needsRebuild() bool {
	source, target := c.b.Codec(), c.r.Compression.target(c.b.Codec())
	if source == None && c.b.IsControl() {
		return false
	}
	return source != target
}
