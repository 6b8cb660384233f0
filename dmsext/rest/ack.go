package rest

import (
	"net/http"
	"strconv"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// ack is POST ack (4.3).
func (x *exchange) ack() (int, error) { return x.settle(false) }

// ackDead is POST deadletters/ack (5).
func (x *exchange) ackDead() (int, error) { return x.settle(true) }

func (x *exchange) settle(deadLetters bool) (int, error) {
	s := settling{acks: x.acks[:0]}
	err := s.read(x.in)
	x.acks = s.acks
	if err != nil {
		return 0, messageBody.wrap(err)
	}
	result, err := x.server.queues.Ack(x.r.Context(), x.project, x.queue, x.group, deadLetters, x.acks)
	if err != nil {
		return 0, err
	}
	x.answer.b = appendSettled(x.answer.b, result)
	return http.StatusOK, nil
}

func appendSettled(b []byte, r queue.AckResult) []byte {
	b = strconv.AppendInt(append(b, `{"success":`...), int64(r.Success), 10)
	b = strconv.AppendInt(append(b, `,"fail":`...), int64(r.Fail), 10)
	return append(b, '}')
}

// settling reads the body of ack in one pass.
type settling struct {
	acks  []queue.Ack
	given bool
}

func (s *settling) read(body []byte) error {
	err := eachMember(body, func(name []byte, c *cursor) error {
		if string(name) == "message" {
			return s.all(c)
		}
		return c.skip()
	})
	if err != nil {
		return err
	}
	if !s.given || len(s.acks) == 0 {
		return shape("message must be an array with at least one handler")
	}
	return nil
}

func (s *settling) all(c *cursor) error {
	s.acks, s.given = s.acks[:0], false
	if !c.enter('[') {
		raw, err := c.value()
		if err != nil || isNull(raw) {
			return err
		}
		return shape("message must be an array")
	}
	s.given = true
	for first := true; ; first = false {
		more, err := c.element(first)
		if err != nil || !more {
			return err
		}
		if err := s.one(c); err != nil {
			return err
		}
	}
}

// one reads a handler with its status. Members that it does not know are passed over, as everywhere but in messages.
func (s *settling) one(c *cursor) error {
	if !c.enter('{') {
		if err := c.skip(); err != nil {
			return err
		}
		return shape("message[%d] must be an object", len(s.acks))
	}
	a := queue.Ack{Success: true} // a missing status is a success (D10)
	given := false
	for first := true; ; first = false {
		name, more, err := c.member(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		raw, err := c.value()
		if err != nil {
			return err
		}
		switch string(name) {
		case "handler":
			if !isText(raw) {
				return shape("the handler of message[%d] must be a string", len(s.acks))
			}
			a.Handle, given = textOf(raw), true
		case "status":
			if a.Success, err = status(raw); err != nil {
				return err
			}
		}
	}
	if !given {
		return shape("the handler of message[%d] is missing", len(s.acks))
	}
	s.acks = append(s.acks, a)
	return nil
}

func status(raw []byte) (success bool, err error) {
	switch string(raw) {
	case `"success"`, "null":
		return true, nil
	case `"fail"`:
		return false, nil
	}
	text := string(raw)
	if isText(raw) {
		switch text = textOf(raw); text { // written with escapes
		case "success":
			return true, nil
		case "fail":
			return false, nil
		}
	}
	return false, refuse(codeAckStatus, "The status must be 'success' or 'fail', not '%s'.", clip(text))
}
