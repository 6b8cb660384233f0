// Package clients holds Kafka clients that others wrote against each other and a
// running broker: what one produced, every other must consume unchanged.
package clients

import (
	"context"
	"fmt"
	"time"
)

// header is one record header; a nil value is null.
type header struct {
	Key   string
	Value []byte
}

// rec is a record as a client sees it. Nil key and value are null.
type rec struct {
	Key, Value []byte
	Headers    []header
	Timestamp  int64 // ms
}

// client is one Kafka client library or tool.
type client interface {
	name() string
	// produce sends the records to partition 0 in order and returns when all are acknowledged.
	produce(ctx context.Context, topic, codec string, recs []rec) error
	// consume reads n records of partition 0 from the start; with a group, as its member,
	// committing what was read.
	consume(ctx context.Context, topic, group string, n int) ([]rec, error)
}

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// corpus is records of every shape: sizes from 0 to max bytes, null, empty and binary
// keys and values, headers with the same name, empty and null values.
func corpus(max int) []rec {
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli()
	out := []rec{
		{Key: []byte("k"), Value: []byte("v")},
		{Key: nil, Value: []byte("null key")},
		{Key: []byte("null value"), Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte{0, 255, 10, 13}, Value: []byte{0, 1, 2, 253, 254, 255, '\n', '"'}},
		{Key: []byte("ключ"), Value: []byte("значение ✓")},
		{Key: []byte("h"), Value: []byte("headers"), Headers: []header{{"a", []byte("1")}, {"a", []byte("2")}, {"empty", []byte{}}, {"bin", []byte{0, 255}}}},
		{Key: []byte("hn"), Value: []byte("null header"), Headers: []header{{"null", nil}}},
	}
	for _, n := range []int{1, 2, 100, 1000, 16 << 10, 100 << 10, max} {
		out = append(out, rec{Key: fmt.Appendf(nil, "size %d", n), Value: pattern(n)})
	}
	for i := range out {
		out[i].Timestamp = t + int64(i)
	}
	return out
}

// pattern is n bytes that compress somewhat and not wholly.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)*2654435761 + 1
	for i := range b {
		if i%4 == 0 {
			x = x*1664525 + 1013904223
		}
		b[i] = byte(x >> 24)
	}
	return b
}
