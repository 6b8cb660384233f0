package queue

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// checkMessages checks what is to be sent, by the rules of section 4.1 and decisions D21, D25, D27 and D35.
func checkMessages(q *queue, messages []Message) error {
	if len(messages) < 1 || len(messages) > mostMessages {
		return badf(CodeFormat, "The request format is incorrect: messages must hold 1 to %d messages.", mostMessages)
	}
	sum := 0
	for i := range messages {
		if err := checkMessage(q, &messages[i]); err != nil {
			return err
		}
		size := messageSize(&messages[i])
		if sum += size; size > maxCallBytes {
			return tooLarge(size)
		}
	}
	if sum > maxCallBytes {
		return tooLarge(sum)
	}
	return nil
}

func tooLarge(size int) *Error {
	return badf(CodeSize, "The message size is %d, larger than the size limit %d.", size, maxCallBytes)
}

// messageSize is what limits count.
func messageSize(m *Message) int {
	if m.Size > 0 {
		return m.Size
	}
	n := len(`{"body":}`) + len(m.Body)
	for i := range m.Attributes {
		n += len(`"":,`) + len(m.Attributes[i].Name) + len(m.Attributes[i].Value)
	}
	for _, label := range m.Labels {
		n += len(`"",`) + len(label)
	}
	return n
}

func checkMessage(q *queue, m *Message) error {
	if q.Mode.Kafka() {
		switch {
		case m.Delay != 0:
			return badf(CodeFormat, "Invalid request format: kafka queue message could not have delayTime.")
		case len(m.Attributes) > 0:
			return badf(CodeFormat, "Invalid request format: kafka queue message could not have attributes.")
		case len(m.Labels) > 0:
			return badf(CodeFormat, "Invalid request format: kafka queue message could not have tags.")
		}
	}
	if m.Delay < 0 || m.Delay > mostDelay {
		return badf(CodeFormat, "The request format is incorrect: delayTime must be 0 to %d milliseconds.", mostDelay.Milliseconds())
	}
	if len(m.Labels) > mostLabels {
		return badf(CodeFormat, "The request format is incorrect: a message has at most %d tags.", mostLabels)
	}
	for _, label := range m.Labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if len(m.Body) == 0 {
		return badf(CodeFields, "The message body has invalid fields: body is missing.")
	}
	if !utf8.Valid(m.Body) {
		return badf(CodeBody, "The message body is not JSON in UTF-8.")
	}
	for i := range m.Attributes {
		a := &m.Attributes[i]
		if len(a.Value) == 0 || a.Value[0] == '{' || a.Value[0] == '[' {
			return badf(CodeFields, "The message body has invalid fields: the value of attribute %.64q must be a string, a number, a boolean or null.", a.Name)
		}
		if !utf8.ValidString(a.Name) || !utf8.Valid(a.Value) {
			return badf(CodeBody, "The message body is not JSON in UTF-8.")
		}
	}
	return nil
}

// idHeader holds the id of a message that was delayed: it has one before it has an offset.
const idHeader = "dms.id"

// headersOf appends the headers of a message. Of attributes of one name the last counts.
func headersOf(dst []record.Header, m *Message) []record.Header {
	attributes := m.Attributes
	if len(attributes) > 1 {
		attributes = lastOfEach(attributes)
	}
	for i := range attributes {
		dst = append(dst, record.Header{Name: private.AttributePrefix + attributes[i].Name, Value: attributes[i].Value})
	}
	for _, label := range m.Labels {
		dst = append(dst, record.Header{Name: private.LabelHeader, Value: []byte(label)})
	}
	return dst
}

// lastOfEach leaves of the attributes of one name the last, in the order they come in.
func lastOfEach(all []Attribute) []Attribute {
	const few = 16 // up to there looking through the list costs less than a map of it
	replaced := func(i int) bool {
		for k := i + 1; k < len(all); k++ {
			if all[k].Name == all[i].Name {
				return true
			}
		}
		return false
	}
	if len(all) > few {
		last := make(map[string]int, len(all))
		for i := range all {
			last[all[i].Name] = i
		}
		replaced = func(i int) bool { return last[all[i].Name] != i }
	}
	var out []Attribute // nil as long as all count
	for i := range all {
		switch {
		case !replaced(i):
			if out != nil {
				out = append(out, all[i])
			}
		case out == nil:
			out = append(make([]Attribute, 0, len(all)), all[:i]...)
		}
	}
	if out == nil {
		return all
	}
	return out
}

// The kinds of message ids, the first byte of what a message id is the base64 of.
const (
	idOfRecord  = 1 // then six bytes of the queue's id, uvarints of partition and offset
	idOfDelayed = 2 // then twelve random bytes
)

// recordID is the id of the record at an offset of a queue.
func recordID(q *queue, partition int32, offset int64) string {
	var b [7 + binary.MaxVarintLen32 + binary.MaxVarintLen64]byte
	b[0] = idOfRecord
	copy(b[1:7], q.key[:])
	p := binary.AppendUvarint(b[:7], uint64(uint32(partition)))
	p = binary.AppendUvarint(p, uint64(offset))
	var text [32]byte
	return string(base64.RawURLEncoding.AppendEncode(text[:0], p))
}

// delayedID makes an id for a message that is delayed.
func delayedID() string {
	random := uuid.New()
	random[3] = idOfDelayed
	return base64.RawURLEncoding.EncodeToString(random[3:]) // the version bits of the id are constant, 90 bits are random
}

// isDelayedID tells whether a header may be what delayedID made.
func isDelayedID(b []byte) bool {
	var id [13]byte
	if len(b) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return false
	}
	n, err := base64.RawURLEncoding.Decode(id[:], b)
	return err == nil && n == len(id) && id[0] == idOfDelayed
}

// Kafka's headers of a dead letter that say where it comes from (KIP-1191).
const (
	originPartition = "__dlq.errors.partition"
	originOffset    = "__dlq.errors.offset"
)

// received turns a record into a message as it is retrieved.
func received(q *queue, partition int32, rec *private.LeasedRecord) Received {
	out := Received{Message: Message{Body: bodyOf(rec.Value)}, Deliveries: int(rec.Deliveries)}
	fromPartition, fromOffset := partition, rec.Offset
	for i := range rec.Headers {
		h := &rec.Headers[i]
		name, isAttribute := strings.CutPrefix(h.Key, private.AttributePrefix)
		switch {
		case isAttribute:
			if out.Attributes == nil {
				out.Attributes = make([]Attribute, 0, len(rec.Headers))
			}
			out.Attributes = append(out.Attributes, Attribute{Name: name, Value: bodyOf(h.Value)})
		case h.Key == private.LabelHeader:
			out.Labels = append(out.Labels, string(h.Value))
		case h.Key == idHeader && isDelayedID(h.Value):
			out.ID = string(h.Value)
		case h.Key == originPartition:
			if n, err := strconv.ParseInt(string(h.Value), 10, 32); err == nil {
				fromPartition = int32(n)
			}
		case h.Key == originOffset:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				fromOffset = n
			}
		}
	}
	if len(out.Attributes) > 1 { // a Kafka client may have written a name twice
		out.Attributes = lastOfEach(out.Attributes)
	}
	if out.ID == "" {
		out.ID = recordID(q, fromPartition, fromOffset)
	}
	return out
}

// bodyOf is a record's value as JSON: what is JSON stays as it is, anything else becomes a string of its base64 (D20).
func bodyOf(value []byte) json.RawMessage {
	switch {
	case value == nil:
		return json.RawMessage("null")
	case isJSON(value):
		return value
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(value))+2)
	out = append(out, '"')
	return append(base64.StdEncoding.AppendEncode(out, value), '"')
}
