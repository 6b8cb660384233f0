package rest

import (
	"bytes"
	"encoding/binary"
)

// Strings, numbers and words as a cursor reads them: to their end, without a look at what they mean.

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
