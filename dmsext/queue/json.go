package queue

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// isJSON tells whether b is one JSON value in UTF-8 (RFC 8259), nested DeepestBody deep at most. Every body that leaves is looked at, so this goes over strings in
// words of eight bytes; json.Valid takes several times as long.
func isJSON(b []byte) bool {
	c := checker{b: b}
	c.space()
	if !c.value(0) {
		return false
	}
	c.space()
	return c.i == len(b)
}

// DeepestBody is how deep arrays and objects stand in each other in a body that is shown as JSON: as deep as one can be sent over
// HTTP, where what is around it counts too. Kafka clients write what they like, and readers give up on what is nested deeper.
const DeepestBody = 512 - 3

type checker struct {
	b []byte
	i int
}

// peek is the next byte, 0 at the end.
func (c *checker) peek() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

// value goes over one value, which begins at the next byte.
func (c *checker) value(depth int) bool {
	switch b := c.peek(); {
	case b == '"':
		return c.text()
	case b == '{', b == '[':
		if depth == DeepestBody {
			return false
		}
		c.i++
		if b == '{' {
			return c.list('}', depth, true)
		}
		return c.list(']', depth, false)
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return c.number()
}

// list goes over the members of an object or the elements of an array, behind its first byte.
func (c *checker) list(end byte, depth int, named bool) bool {
	if c.space(); c.peek() == end {
		c.i++
		return true
	}
	for {
		if named {
			if c.peek() != '"' || !c.text() {
				return false
			}
			if c.space(); c.peek() != ':' {
				return false
			}
			c.i++
			c.space()
		}
		if !c.value(depth + 1) {
			return false
		}
		c.space()
		switch c.peek() {
		case end:
			c.i++
			return true
		case ',':
			c.i++
			c.space()
		default:
			return false
		}
	}
}

func (c *checker) word(w string) bool {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return false
	}
	c.i += len(w)
	return true
}

func (c *checker) number() bool {
	if c.peek() == '-' {
		c.i++
	}
	if c.peek() == '0' {
		c.i++
	} else if !c.digits() {
		return false
	}
	if c.peek() == '.' {
		if c.i++; !c.digits() {
			return false
		}
	}
	if b := c.peek(); b == 'e' || b == 'E' {
		c.i++
		if b = c.peek(); b == '+' || b == '-' {
			c.i++
		}
		return c.digits()
	}
	return true
}

// digits goes over digits, at least one.
func (c *checker) digits() bool {
	from := c.i
	for c.i < len(c.b) && '0' <= c.b[c.i] && c.b[c.i] <= '9' {
		c.i++
	}
	return c.i > from
}

// text goes over a string that begins at the next byte.
func (c *checker) text() bool {
	c.i++
	for {
		c.i = plainEnd(c.b, c.i)
		switch b := c.peek(); {
		case c.i == len(c.b) || b < ' ':
			return false
		case b == '"':
			c.i++
			return true
		case b == '\\':
			if !c.escape() {
				return false
			}
		default:
			r, size := utf8.DecodeRune(c.b[c.i:])
			if r == utf8.RuneError && size == 1 {
				return false
			}
			c.i += size
		}
	}
}

// escape goes over a backslash and what belongs to it.
func (c *checker) escape() bool {
	c.i++
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.i++
		return true
	case 'u':
	default:
		return false
	}
	for range 4 {
		c.i++
		switch d := c.peek(); {
		case '0' <= d && d <= '9', 'a' <= d && d <= 'f', 'A' <= d && d <= 'F':
		default:
			return false
		}
	}
	c.i++
	return true
}

// plainEnd is where, from i on, the first byte stands that is no plain character of a string: a quote, a backslash, a control
// character, or part of a character beyond ASCII.
func plainEnd(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		// In each byte of found the highest bit is set where the byte is one of those, and maybe, because of a borrow, behind such a one.
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		found := (x | (x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return i
}
