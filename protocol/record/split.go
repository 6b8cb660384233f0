package record

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// prefixSize is how many bytes tell a batch's size and format.
const prefixSize = magicAt + 1

// PeekSize reads a batch's whole size from its first bytes. ErrShort: fewer than 17 of them. ErrCorrupt: no batch of this
// format begins here. The size may be as large as 2 GiB; what it is compared with is the caller's business.
func PeekSize(prefix []byte) (int, error) {
	if len(prefix) < prefixSize {
		return 0, fmt.Errorf("%w: %d bytes", ErrShort, len(prefix))
	}
	if magic := int8(prefix[magicAt]); magic != magicV2 {
		return 0, fmt.Errorf("%w: magic %d", ErrCorrupt, magic)
	}
	length := int32(binary.BigEndian.Uint32(prefix[lengthAt:]))
	if length < smallestV2Length {
		return 0, fmt.Errorf("%w: length field %d is below %d", ErrCorrupt, length, smallestV2Length)
	}
	return int(length) + lengthEnd, nil
}

// First splits the first batch off buf. ErrShort: buf ends within it. ErrCorrupt: buf does not begin with a batch. It looks
// at the length and the format only; CheckCRC is the caller's.
func First(buf []byte) (b Batch, rest []byte, err error) {
	size, err := PeekSize(buf)
	if err != nil {
		return nil, buf, err
	}
	if size > len(buf) {
		return nil, buf, fmt.Errorf("%w: %d of %d bytes", ErrShort, len(buf), size)
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

// Batches yields the batches of buf in their order. An error is one of First's, or none if buf is used up, and the last.
func Batches(buf []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(buf) > 0 {
			b, rest, err := First(buf)
			if !yield(b, err) || err != nil {
				return
			}
			buf = rest
		}
	}
}

// Single is the batch of one partition of a produce request: exactly one whole batch, after which Kafka lets bytes pass that
// do not make another. A *RejectedError of kind ErrInvalidRecord (none, two, an old format) or ErrCorrupt, as Kafka judges
// before it looks for the partition.
func Single(records []byte) (Batch, error) {
	size, err := wholeBatch(records)
	switch {
	case err != nil:
		return nil, err
	case size == 0:
		return nil, rejected(ErrInvalidRecord, "no whole record batch")
	}
	if magic := records[magicAt]; magic != magicV2 {
		return nil, rejected(ErrInvalidRecord, fmt.Sprintf("message format %d is no longer accepted", magic))
	}
	second, err := wholeBatch(records[size:])
	switch {
	case err != nil:
		return nil, err
	case second > 0:
		return nil, rejected(ErrInvalidRecord, "more than one record batch for a partition")
	case size < HeaderSize:
		return nil, rejected(ErrCorrupt, fmt.Sprintf("a batch of %d bytes", size))
	}
	return Batch(records[:size:size]), nil
}

// wholeBatch is the size of the batch or old message that buf begins with, 0 if buf ends before it does.
func wholeBatch(buf []byte) (int, error) {
	if len(buf) < lengthEnd {
		return 0, nil
	}
	length := int32(binary.BigEndian.Uint32(buf[lengthAt:]))
	if length < smallestLegacyLen {
		return 0, rejected(ErrCorrupt, fmt.Sprintf("length field %d is below %d", length, smallestLegacyLen))
	}
	if len(buf) < prefixSize {
		return 0, nil
	}
	if magic := int8(buf[magicAt]); magic < 0 || magic > magicV2 {
		return 0, rejected(ErrCorrupt, fmt.Sprintf("unknown message format %d", magic))
	}
	if int64(length)+lengthEnd > int64(len(buf)) {
		return 0, nil
	}
	return int(length) + lengthEnd, nil
}
