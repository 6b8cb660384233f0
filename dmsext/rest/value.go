package rest

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// What values mean that a cursor has read.

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
