package rest

import (
	"bytes"
	"fmt"
)

// nestingLimit is how deep arrays and objects may stand in each other in a request. Readers of other languages give up
// at about a thousand, and what is sent here is read there.
const nestingLimit = 512

// syntaxError says where a text stops being JSON.
type syntaxError struct {
	at   int // byte
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.at) }

// cursor reads JSON (RFC 8259) from front to end, once, without copying: what it gives are parts of data.
type cursor struct {
	data  []byte
	at    int
	depth int // of what was entered with enter
}

func (c *cursor) fail(what string) error { return &syntaxError{at: c.at, what: what} }

// peek skips white space and gives the next byte; 0 at the end, which is no token either.
func (c *cursor) peek() byte {
	for c.at < len(c.data) {
		switch b := c.data[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
	return 0
}

// end checks that nothing but white space is left.
func (c *cursor) end() error {
	if c.peek(); c.at < len(c.data) {
		return c.fail("something stands after the value")
	}
	return nil
}

// enter steps into an object or array if the next value is one: open is its first byte.
func (c *cursor) enter(open byte) bool {
	if c.peek() != open {
		return false
	}
	c.at++
	c.depth++
	return true
}

// member steps to the next member of the object that was entered and reads its name; more is false at the object's end.
func (c *cursor) member(first bool) (name []byte, more bool, err error) {
	if more, err = c.step('}', first); !more || err != nil {
		c.depth--
		return nil, false, err
	}
	if name, err = c.name(); err != nil {
		return nil, false, err
	}
	return name, true, nil
}

// element steps to the next element of the array that was entered; more is false at its end.
func (c *cursor) element(first bool) (more bool, err error) {
	if more, err = c.step(']', first); !more {
		c.depth--
	}
	return more, err
}

func (c *cursor) step(closing byte, first bool) (more bool, err error) {
	b := c.peek()
	if b == closing {
		c.at++
		return false, nil
	}
	if first {
		return true, nil
	}
	if b != ',' {
		return false, c.fail("a comma or " + string(closing) + " is missing")
	}
	c.at++
	if c.peek() == closing {
		return false, c.fail("nothing follows the comma")
	}
	return true, nil
}

// name reads the name of a member and its colon. A name with escapes is given as what it means.
func (c *cursor) name() ([]byte, error) {
	if c.peek() != '"' {
		return nil, c.fail("a member's name is missing")
	}
	from := c.at
	if err := c.text(); err != nil {
		return nil, err
	}
	raw := c.data[from:c.at]
	if c.peek() != ':' {
		return nil, c.fail("a colon is missing")
	}
	c.at++
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return []byte(textOf(raw)), nil
}

// value reads the next value, whatever it is, and gives its bytes without the white space around it.
func (c *cursor) value() ([]byte, error) {
	c.peek()
	from := c.at
	if err := c.skip(); err != nil {
		return nil, err
	}
	return c.data[from:c.at:c.at], nil
}

// skip reads one value of any depth. The containers it is in are bits, so that hostile nesting costs no stack.
func (c *cursor) skip() error {
	var objects [nestingLimit / 64]uint64
	level := 0
	for {
		opened := false
		switch b := c.peek(); b {
		case '{', '[':
			if level+c.depth >= nestingLimit {
				return c.fail(fmt.Sprintf("values are nested more than %d deep", nestingLimit))
			}
			word, bit := level/64, uint64(1)<<(level%64)
			if objects[word] &^= bit; b == '{' {
				objects[word] |= bit
			}
			c.at++
			level++
			opened = true
		case '"':
			if err := c.text(); err != nil {
				return err
			}
		default:
			if err := c.scalar(b); err != nil {
				return err
			}
		}
		for {
			if level == 0 {
				return nil
			}
			object := objects[(level-1)/64]&(1<<((level-1)%64)) != 0
			more, err := c.follow(object, opened)
			if err != nil {
				return err
			}
			if more {
				break
			}
			opened = false
			level--
		}
	}
}

// follow steps to the next value of a container, past a member's name.
func (c *cursor) follow(object, first bool) (more bool, err error) {
	if !object {
		return c.step(']', first)
	}
	if more, err = c.step('}', first); !more || err != nil {
		return false, err
	}
	if c.peek() != '"' {
		return false, c.fail("a member's name is missing")
	}
	if err = c.text(); err != nil {
		return false, err
	}
	if c.peek() != ':' {
		return false, c.fail("a colon is missing")
	}
	c.at++
	return true, nil
}
