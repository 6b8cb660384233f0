// Package uuid holds the 16-byte ids by which Kafka names topics, log directories and telemetry clients.
//
// It owns their text form: URL-safe base64 without padding, 22 characters. The zero ID means "none" everywhere on the wire.
// An ID converts to and from the [16]byte of kmsg by plain Go conversion.
package uuid

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrFormat says that a text is not an id.
var ErrFormat = errors.New("not an id of 22 URL-safe base64 characters")

// ID is one id. Its zero value means "no id".
type ID [16]byte

// reserved is how many ids, counted from zero, Kafka keeps for its own use; the second one is the metadata topic's.
const reserved = 100

const textLen = 22

// New makes a random id (a version 4 UUID). It is never one that Kafka reserves, and its text never starts with '-', so that
// it can be given to command-line tools.
func New() ID {
	for {
		var id ID
		rand.Read(id[:]) // never fails: the runtime ends the process when the system has no randomness
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if !id.Reserved() && id.String()[0] != '-' {
			return id
		}
	}
}

// Parse reads the text form. Like Kafka it accepts the text with its two padding characters as well.
func Parse(s string) (ID, error) {
	var id ID
	text := s
	if len(s) == textLen+2 {
		text = strings.TrimSuffix(s, "==")
	}
	if len(text) != textLen {
		return ID{}, fmt.Errorf("%q: %w", clip(s), ErrFormat)
	}
	n, err := base64.RawURLEncoding.Decode(id[:], []byte(text))
	if err != nil || n != len(id) {
		return ID{}, fmt.Errorf("%q: %w", clip(s), ErrFormat)
	}
	return id, nil
}

// clip keeps error messages about hostile input short.
func clip(s string) string {
	if len(s) > 2*textLen {
		return s[:2*textLen] + "..."
	}
	return s
}

// String gives the 22 characters that Kafka prints.
func (id ID) String() string {
	var text [textLen]byte
	base64.RawURLEncoding.Encode(text[:], id[:])
	return string(text[:])
}

// IsZero reports whether id means "no id". It also makes `omitzero` work in JSON.
func (id ID) IsZero() bool { return id == ID{} }

// Reserved reports whether Kafka keeps id for its own use: the first hundred, zero among them.
func (id ID) Reserved() bool {
	return binary.BigEndian.Uint64(id[:8]) == 0 && binary.BigEndian.Uint64(id[8:]) < reserved
}

// MarshalText gives the text form, for JSON values and keys.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what Parse reads.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
