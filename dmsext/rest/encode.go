package rest

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendText appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD; nothing is escaped that JSON leaves as
// it is, < and > neither.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, s[from:i]...), "\ufffd"...)
			i++
			from = i
			continue
		}
		b = append(b, s[from:i]...)
		b = appendEscape(b, c)
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// answer builds an answer's JSON. Commas come by themselves.
type answer struct{ b []byte }

func (a *answer) comma() {
	if n := len(a.b); n > 0 {
		switch a.b[n-1] {
		case '{', '[', ':', ',':
		default:
			a.b = append(a.b, ',')
		}
	}
}

func (a *answer) open(c byte) *answer  { a.comma(); a.b = append(a.b, c); return a }
func (a *answer) close(c byte) *answer { a.b = append(a.b, c); return a }

func (a *answer) name(name string) {
	a.comma()
	a.b = append(append(append(a.b, '"'), name...), '"', ':')
}

func (a *answer) text(name, value string) {
	a.name(name)
	a.b = appendText(a.b, value)
}

func (a *answer) integer(name string, value int64) {
	a.name(name)
	a.b = strconv.AppendInt(a.b, value, 10)
}

func (a *answer) boolean(name string, value bool) {
	a.name(name)
	a.b = strconv.AppendBool(a.b, value)
}

func (a *answer) null(name string) {
	a.name(name)
	a.b = append(a.b, "null"...)
}

// begin opens an object or array that is a member.
func (a *answer) begin(name string, c byte) {
	a.name(name)
	a.b = append(a.b, c)
}

// element appends a string to an array.
func (a *answer) element(value string) {
	a.comma()
	a.b = appendText(a.b, value)
}
