package delay

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Target is the partition that messages are bound for.
type Target struct {
	Topic     uuid.ID
	Partition int32
}

const (
	kindMessage = 'm'
	kindTarget  = 't'
	kindOwn     = 0xff // rows of ours that are no records
	kindCount   = 'c'

	format = 1

	targetSize  = 16 + 4
	messageKey  = 1 + targetSize + 8 + 8
	maxHeaders  = 1 << 16
	idAndDue    = 16
	maxInIntent = 4096
)

// errMalformed says that a record is not of this package, or damaged.
var errMalformed = errors.New("malformed record of a delayed message")

func (t Target) append(dst []byte) []byte {
	dst = append(dst, t.Topic[:]...)
	return binary.BigEndian.AppendUint32(dst, uint32(t.Partition))
}

func parseTarget(b []byte) (t Target) {
	copy(t.Topic[:], b)
	t.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	return t
}

// ref names a waiting message of a target.
type ref struct{ due, id int64 }

func (r ref) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.due))
	return binary.BigEndian.AppendUint64(dst, uint64(r.id))
}

func parseRef(b []byte) ref {
	return ref{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
}

// messagesOf is what the keys of a target's messages begin with, in order of due time.
func messagesOf(t Target) []byte { return t.append([]byte{kindMessage}) }

func keyOf(t Target, r ref) []byte { return r.append(messagesOf(t)) }

func targetKey(t Target) []byte { return t.append([]byte{kindTarget}) }

func countKey(t Target) []byte { return t.append([]byte{kindOwn, kindCount}) }

func encodeMessage(m *private.DelayedMessage) []byte {
	b := appendBytes(appendBytes([]byte{format}, m.Key), m.Value)
	b = binary.AppendUvarint(b, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		b = append(binary.AppendUvarint(b, uint64(len(h.Key))), h.Key...)
		b = appendBytes(b, h.Value)
	}
	return b
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(b))+1), b...)
}

// decodeMessage reads what encodeMessage wrote; the slices are b's.
func decodeMessage(b []byte) (m private.DelayedMessage, err error) {
	r := reader{b: b}
	if r.byte() != format {
		return m, fmt.Errorf("%w: message of an unknown format", errMalformed)
	}
	m.Key, m.Value = r.bytes(), r.bytes()
	n := r.uvarint()
	if n > maxHeaders || n > uint64(len(r.b)) {
		return m, fmt.Errorf("%w: %d headers", errMalformed, n)
	}
	for range n {
		m.Headers = append(m.Headers, private.Header{Key: string(r.take(r.uvarint())), Value: r.bytes()})
	}
	if r.bad || len(r.b) > 0 {
		return m, errMalformed
	}
	return m, nil
}

// producer is a target's own producer, with the intent that is open.
type producer struct {
	id       int64
	epoch    int16
	sequence int32 // of the next batch
	open     *intent
}

// intent is a batch of messages on its way into the target.
type intent struct {
	sequence int32
	from     int64 // the batch stands at or after this offset, if it does
	messages []ref
}

func (p *producer) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{format}, uint64(p.id))
	b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(p.sequence))
	if p.open == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(p.open.messages)))
	b = binary.BigEndian.AppendUint32(b, uint32(p.open.sequence))
	b = binary.BigEndian.AppendUint64(b, uint64(p.open.from))
	for _, m := range p.open.messages {
		b = m.append(b)
	}
	return b
}

func decodeProducer(b []byte) (*producer, error) {
	r := reader{b: b}
	if r.byte() != format {
		return nil, fmt.Errorf("%w: target of an unknown format", errMalformed)
	}
	p := &producer{id: int64(r.uint(8)), epoch: int16(r.uint(2)), sequence: int32(r.uint(4))}
	if n := r.uvarint(); n > 0 {
		p.open = &intent{sequence: int32(r.uint(4)), from: int64(r.uint(8))}
		if n > maxInIntent || n*idAndDue != uint64(len(r.b)) {
			return nil, fmt.Errorf("%w: intent of %d messages", errMalformed, n)
		}
		for range n {
			p.open.messages = append(p.open.messages, parseRef(r.take(idAndDue)))
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errMalformed
	}
	return p, nil
}

// reader cuts values off b; bad once there was less than asked for.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	cut := r.b[:n:n]
	r.b = r.b[n:]
	return cut
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

func (r *reader) uint(size uint64) (n uint64) {
	for _, b := range r.take(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	return r.take(n - 1)
}

// Rows makes the rows of a record: its own, and with a message the count of its target.
func Rows(w runtime.Writer, e *runtime.Entry) error {
	if e.Marker != nil || len(e.Key) == 0 {
		return nil
	}
	if e.Key[0] != kindMessage || len(e.Key) != messageKey {
		return runtime.Raw(w, e)
	}
	_, there, err := w.Get(e.Key)
	if err != nil {
		return err
	}
	if there != (e.Value != nil) {
		change := int64(1)
		if there {
			change = -1
		}
		if err := addCount(w, parseTarget(e.Key[1:]), change); err != nil {
			return err
		}
	}
	return runtime.Raw(w, e)
}

func addCount(w runtime.Writer, t Target, change int64) error {
	n, err := count(w, t)
	if err != nil {
		return err
	}
	if n += change; n <= 0 {
		return w.Delete(countKey(t))
	}
	return w.Set(countKey(t), binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// count is how many messages wait for a target.
func count(r runtime.Reader, t Target) (int64, error) {
	row, ok, err := r.Get(countKey(t))
	if err != nil || !ok || len(row) != 8 {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(row)), nil
}
