// Package record is Kafka's message format v2: it reads, checks, builds and rewrites record batches.
//
// It owns no state and does no I/O: bytes in, bytes and verdicts out. Everything it reads may come from a stranger, so no
// length is believed before it is compared with the bytes that are there, decompression stops at a limit, and nothing panics
// on input. A batch stays encoded as its producer sent it wherever that is possible: the offsets and the leader epoch lie
// outside the checksum and are stamped in place.
//
// A batch, all integers big-endian (KIP-98; KIP-534 for the delete horizon):
//
//	 0  int64   base offset
//	 8  int32   length of what follows, 49 or more
//	12  int32   partition leader epoch
//	16  int8    magic, 2
//	17  uint32  CRC-32C of everything from byte 21 to the end
//	21  int16   attributes
//	23  int32   last offset delta (also the last sequence's)
//	27  int64   base timestamp; the delete horizon where that bit is set
//	35  int64   max timestamp
//	43  int64   producer id, -1 for none
//	51  int16   producer epoch
//	53  int32   base sequence
//	57  int32   number of records
//	61  records, compressed as a whole where a codec is set
//
// Attributes, of which Kafka reads the low byte only:
//
//	7 | 6              | 5       | 4             | 3                        | 2 1 0
//	- | delete horizon | control | transactional | timestamps are appends'  | codec
//
// A record, whose integers are zigzag varints of at most 5 bytes (10 for the timestamp):
//
//	varint  size of what follows
//	int8    attributes, none defined
//	varint  timestamp delta
//	varint  offset delta
//	varint  key size, negative for none; key
//	varint  value size, negative for none; value
//	varint  number of headers; each: varint size, name, varint size (negative for none), value
//
// The rules of Validate are those of Kafka 4.4's produce path, in its order, so that a batch with several faults is refused
// with the same code.
package record
