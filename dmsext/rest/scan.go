package rest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
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

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text reads a string, quotes included.
func (c *cursor) text() error {
	d, i := c.data, c.at+1
	for {
		// Eight bytes at once while none is a quote, a backslash or a control character; a byte from 0x80 up only
		// stops the fast walk, never hides one of these.
		for i+8 <= len(d) {
			w := binary.LittleEndian.Uint64(d[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			if ((quote-ones)&^quote|(slash-ones)&^slash|(w-ones*0x20)&^w)&highs != 0 {
				break
			}
			i += 8
		}
		if i >= len(d) {
			c.at = len(d)
			return c.fail("a string has no end")
		}
		switch b := d[i]; {
		case b == '"':
			c.at = i + 1
			return nil
		case b == '\\':
			n := escape(d[i:])
			if n == 0 {
				c.at = i
				return c.fail("a string has an escape that JSON does not know")
			}
			i += n
		case b < 0x20:
			c.at = i
			return c.fail("a string has a control character that is not escaped")
		default:
			i++
		}
	}
}

// escape gives the length of the escape that d begins with; 0: it is none.
func escape(d []byte) int {
	if len(d) < 2 {
		return 0
	}
	switch d[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(d) < 6 {
			return 0
		}
		for _, b := range d[2:6] {
			if !(b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// scalar reads a number or one of the three words; first is its first byte.
func (c *cursor) scalar(first byte) error {
	word := ""
	switch {
	case first == '-' || first >= '0' && first <= '9':
		return c.number()
	case first == 't':
		word = "true"
	case first == 'f':
		word = "false"
	case first == 'n':
		word = "null"
	case c.at >= len(c.data):
		return c.fail("a value is missing")
	}
	if word == "" || !bytes.HasPrefix(c.data[c.at:], []byte(word)) {
		return c.fail("this is no JSON value")
	}
	c.at += len(word)
	return nil
}

func (c *cursor) number() error {
	if c.data[c.at] == '-' {
		c.at++
	}
	if c.at < len(c.data) && c.data[c.at] == '0' {
		c.at++
	} else if !c.digits() {
		return c.fail("a number has no digits")
	}
	if c.at < len(c.data) && c.data[c.at] == '.' {
		c.at++
		if !c.digits() {
			return c.fail("a number has no digits after the point")
		}
	}
	if c.at < len(c.data) && c.data[c.at]|0x20 == 'e' {
		c.at++
		if c.at < len(c.data) && (c.data[c.at] == '+' || c.data[c.at] == '-') {
			c.at++
		}
		if !c.digits() {
			return c.fail("a number has no exponent")
		}
	}
	return nil
}

func (c *cursor) digits() bool {
	from := c.at
	for c.at < len(c.data) && c.data[c.at] >= '0' && c.data[c.at] <= '9' {
		c.at++
	}
	return c.at > from
}

// isText tells whether a value that was read is a string.
func isText(raw []byte) bool { return len(raw) > 0 && raw[0] == '"' }

// isNull tells whether a value that was read is null.
func isNull(raw []byte) bool { return len(raw) > 0 && raw[0] == 'n' }

// textOf gives what a string that was read means.
func textOf(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil { // it was read, so it is a string
		return string(inner)
	}
	return s
}

// integerOf gives a number that was read if it is whole, written as 3, 3.0 or 3e0.
func integerOf(raw []byte) (int64, bool) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// validText tells whether the bytes are UTF-8, as JSON has to be.
func validText(data []byte) bool { return utf8.Valid(data) }
