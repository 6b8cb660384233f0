package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Ranges of section 4.1.
const (
	mostMessages = 10
	mostLabels   = 3
	longestDelay = 7 * 24 * 60 * 60 * 1000 // milliseconds
)

// send is POST messages (4.1).
func (x *exchange) send() (int, error) {
	m := sending{messages: x.messages[:0]}
	err := m.read(x.in)
	x.messages = m.messages
	if err != nil {
		return 0, messageBody.wrap(err)
	}
	sent, err := x.server.queues.Send(x.r.Context(), x.project, x.queue, x.messages)
	if err != nil {
		return 0, err
	}
	x.answer.b = appendSent(x.answer.b, sent, m.returnID)
	return http.StatusCreated, nil
}

// appendSent appends the answer: what became of each message, in the order of the request.
func appendSent(b []byte, sent []queue.Sent, ids bool) []byte {
	b = append(b, `{"messages":[`...)
	for i := range sent {
		if i > 0 {
			b = append(b, ',')
		}
		if e := sent[i].Err; e != nil {
			b = appendText(append(b, `{"error":`...), e.Message)
			b = strconv.AppendInt(append(b, `,"error_code":`...), int64(e.Code), 10)
			b = append(b, `,"state":1`...)
		} else {
			b = append(b, `{"error":null,"error_code":null,"state":0`...)
			if ids {
				b = appendText(append(b, `,"id":`...), sent[i].ID)
			}
		}
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// sending reads the body of send in one pass. What it gives are parts of the body.
type sending struct {
	messages []queue.Message
	returnID bool
	given    bool // the messages
	size     int  // of them in bytes
}

func (m *sending) read(body []byte) error {
	err := eachMember(body, func(name []byte, c *cursor) error {
		switch string(name) {
		case "messages":
			return m.all(c)
		case "returnId", "return_id":
			return m.wantIDs(c)
		}
		return c.skip() // unknown and null members are passed over (D35)
	})
	if err != nil {
		return err
	}
	return m.check()
}

// check refuses what is wrong as a whole (D27).
func (m *sending) check() error {
	switch {
	case !m.given || len(m.messages) == 0:
		return shape("messages must be an array of 1 to %d messages", mostMessages)
	case m.size > MessageBytes:
		return tooLong(m.size)
	}
	return nil
}

func tooLong(size int) error {
	return refuse(queue.CodeSize, "The message size is %d, larger than the size limit %d.", size, MessageBytes)
}

func (m *sending) wantIDs(c *cursor) error {
	raw, err := c.value()
	if err != nil {
		return err
	}
	switch string(raw) {
	case "true":
		m.returnID = true
	case "false", "null":
		m.returnID = false
	default:
		return shape("returnId must be true or false, not %s", clip(string(raw)))
	}
	return nil
}

// all reads the messages. A later list takes the place of an earlier one.
func (m *sending) all(c *cursor) error {
	m.messages, m.size, m.given = m.messages[:0], 0, false
	if !c.enter('[') {
		raw, err := c.value()
		if err != nil || isNull(raw) {
			return err
		}
		return shape("messages must be an array")
	}
	m.given = true
	for first := true; ; first = false {
		more, err := c.element(first)
		if err != nil || !more {
			return err
		}
		if len(m.messages) == mostMessages {
			return shape("more than %d messages are in the request", mostMessages)
		}
		c.peek()
		from := c.at
		if err := m.one(c); err != nil {
			return err
		}
		size := c.at - from
		if size > MessageBytes {
			return tooLong(size)
		}
		m.messages[len(m.messages)-1].Size = size
		m.size += size
	}
}

// one reads a message.
func (m *sending) one(c *cursor) error {
	if !c.enter('{') {
		if err := c.skip(); err != nil {
			return err
		}
		return m.invalid("it must be an object")
	}
	var msg queue.Message
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch string(name) {
		case "body":
			msg.Body, err = c.value()
		case "attributes":
			msg.Attributes, err = m.attributes(c)
		case "tags":
			msg.Labels, err = m.labels(c)
		case "delayTime", "delay_time":
			msg.Delay, err = m.delay(c)
		default:
			return m.invalid("the field %q is not one of body, attributes, tags and delayTime", clip(string(name)))
		}
		if err != nil {
			return err
		}
	}
	if len(msg.Body) == 0 || isNull(msg.Body) {
		return m.invalid("the body is missing or null")
	}
	m.messages = append(m.messages, msg)
	return nil
}

// invalid refuses the message that is being read.
func (m *sending) invalid(format string, args ...any) error {
	e := refuse(queue.CodeFields, format, args...)
	e.Message = "The message body contains invalid fields: messages[" + strconv.Itoa(len(m.messages)) + "]: " + e.Message + "."
	return e
}

// attributes reads names with scalar values. Of a name that stands twice both are given: the queue takes the last.
func (m *sending) attributes(c *cursor) (list []queue.Attribute, err error) {
	if !c.enter('{') {
		raw, err := c.value()
		if err != nil || isNull(raw) {
			return nil, err
		}
		return nil, m.invalid("attributes must be an object")
	}
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil || !more {
			return list, err
		}
		value, err := c.value()
		if err != nil {
			return nil, err
		}
		if value[0] == '{' || value[0] == '[' {
			return nil, m.invalid("the attribute %q must be a string, a number, true, false or null", clip(string(name)))
		}
		list = append(list, queue.Attribute{Name: string(name), Value: value})
	}
}

// labels reads a message's tags.
func (m *sending) labels(c *cursor) (list []string, err error) {
	if !c.enter('[') {
		raw, err := c.value()
		if err != nil || isNull(raw) {
			return nil, err
		}
		return nil, m.invalid("tags must be an array of strings")
	}
	for first := true; ; first = false {
		more, err := c.element(first)
		if err != nil || !more {
			return list, err
		}
		raw, err := c.value()
		if err != nil {
			return nil, err
		}
		if !isText(raw) {
			return nil, m.invalid("tags must be an array of strings")
		}
		if len(list) == mostLabels {
			return nil, m.invalid("it has more than %d tags", mostLabels)
		}
		list = append(list, textOf(raw))
	}
}

// delay reads milliseconds; a fraction is cut off.
func (m *sending) delay(c *cursor) (time.Duration, error) {
	raw, err := c.value()
	if err != nil || isNull(raw) {
		return 0, err
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		if f, err := strconv.ParseFloat(string(raw), 64); err == nil && f > -1 && f < longestDelay+1 {
			return time.Duration(f) * time.Millisecond, nil
		}
	}
	return 0, m.invalid("delayTime must be a number of milliseconds from 0 to %d, not %s", longestDelay, clip(string(raw)))
}
