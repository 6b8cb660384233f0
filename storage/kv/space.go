package kv

import (
	"encoding/binary"
	"errors"
)

// Space is a part of the key space that belongs to one user. Keys in it have any
// bytes and any length, and sort as bytes do. The first name is that of the
// package that owns the space, further ones are its own affair. Two spaces with
// different names share no key. Spaces are comparable.
//
// A row's key on disk:
//
//	+--------------+--------+-- ... --+---+---------+
//	| len(name)+1  | name   |         | 0 | key ... |
//	| uvarint      |        |         |   |         |
//	+--------------+--------+-- ... --+---+---------+
//	 once for each name                end of names
//
// As no name begins with a zero byte, no space's prefix is the start of
// another's: Space("a") and Space("a", "b") are apart as well.
type Space struct{ prefix string }

// NewSpace answers the space of the given names.
func NewSpace(owner string, names ...string) Space {
	b := appendName(make([]byte, 0, 64), owner)
	for _, name := range names {
		b = appendName(b, name)
	}
	return Space{string(append(b, 0))}
}

func appendName(b []byte, name string) []byte {
	b = binary.AppendUvarint(b, uint64(len(name))+1)
	return append(b, name...)
}

// appendKey appends the key on disk of a row in the space.
func (s Space) appendKey(dst, key []byte) []byte {
	return append(append(dst, s.prefix...), key...)
}

// appendEnd appends the key on disk just past all rows of the space.
func (s Space) appendEnd(dst []byte) []byte {
	dst = append(dst, s.prefix...)
	dst[len(dst)-1]++ // the zero that ends the names
	return dst
}

// errNoSpace answers operations on the zero Space, which names nothing.
var errNoSpace = errors.New("kv: zero Space")

func (s Space) check() error {
	if s.prefix == "" {
		return errNoSpace
	}
	return nil
}
