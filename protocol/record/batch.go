package record

import "encoding/binary"

// HeaderSize is the number of bytes before a batch's records.
const HeaderSize = 61

const (
	lengthAt        = 8
	lengthEnd       = 12 // the length field counts what follows here
	leaderEpochAt   = 12
	magicAt         = 16
	crcAt           = 17
	attributesAt    = 21 // the checksum begins here
	lastDeltaAt     = 23
	baseTimestampAt = 27
	maxTimestampAt  = 35
	producerIDAt    = 43
	producerEpochAt = 51
	baseSequenceAt  = 53
	countAt         = 57
)

const (
	codecMask         = 0x07
	appendTimeBit     = 0x08
	transactionalBit  = 0x10
	controlBit        = 0x20
	deleteHorizonBit  = 0x40
	knownAttributes   = 0x7f
	magicV2           = 2
	smallestV2Length  = HeaderSize - lengthEnd
	smallestLegacyLen = 14 // of a message in the formats 0 and 1
)

// NoTimestamp is the time of a record that has none, NoProducerID the producer id of a batch without one.
const (
	NoTimestamp  int64 = -1
	NoProducerID int64 = -1
	NoSequence   int32 = -1
)

// Batch is a view of one whole encoded batch. It is made by First or Single, which check that the bytes are there; other
// bytes must have the size of a header at least. Accessors read the header only, so that its first HeaderSize bytes do for
// them; Payload, CheckCRC, Records and Validate need the batch whole.
type Batch []byte

// BaseOffset is the offset of the first record, or what it was before compaction removed it.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b)) }

// Size is the number of bytes of the whole batch according to its length field.
func (b Batch) Size() int { return int(int32(binary.BigEndian.Uint32(b[lengthAt:]))) + lengthEnd }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[leaderEpochAt:])) }

// Magic is the format's version, 2.
func (b Batch) Magic() int8 { return int8(b[magicAt]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcAt:]) }

// Attributes are the flags as stored.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[attributesAt:])) }

// Codec says how the records are compressed; it may be one that does not exist.
func (b Batch) Codec() Codec { return Codec(b[attributesAt+1] & codecMask) }

// IsAppendTime tells whether the records' time is the append's, which MaxTimestamp holds, instead of their own.
func (b Batch) IsAppendTime() bool { return b[attributesAt+1]&appendTimeBit != 0 }

// IsTransactional tells whether the batch belongs to a transaction, its marker included.
func (b Batch) IsTransactional() bool { return b[attributesAt+1]&transactionalBit != 0 }

// IsControl tells whether the record is a control record, which consumers do not see.
func (b Batch) IsControl() bool { return b[attributesAt+1]&controlBit != 0 }

// DeleteHorizon is the time in milliseconds from which on the cleaner may drop the batch's tombstones and marker (KIP-534).
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	return b.BaseTimestamp(), b[attributesAt+1]&deleteHorizonBit != 0
}

// LastOffsetDelta is the last record's offset less the base offset; compaction leaves it.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[lastDeltaAt:])) }

// LastOffset is the offset of the last record, or what it was before compaction.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the first offset after the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is what the records' timestamps are relative to, in milliseconds.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[baseTimestampAt:])) }

// MaxTimestamp is the latest timestamp in milliseconds; the append's where IsAppendTime.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[maxTimestampAt:])) }

// ProducerID is the idempotent producer's id, NoProducerID for others.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[producerIDAt:])) }

// HasProducerID tells whether the batch takes part in idempotence: any id above -1, as in Kafka.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// ProducerEpoch is the producer's epoch, -1 for none.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[producerEpochAt:])) }

// BaseSequence is the first record's sequence number, NoSequence for none.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[baseSequenceAt:])) }

// LastSequence is the last record's sequence number, NoSequence for none.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() == NoSequence {
		return NoSequence
	}
	return IncrementSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// NumRecords is the number of records in the batch, which compaction lowers.
func (b Batch) NumRecords() int32 { return int32(binary.BigEndian.Uint32(b[countAt:])) }

// Payload is the encoded records, compressed if Codec says so.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// IncrementSequence is the sequence number n records after seq. Numbers wrap from 2^31-1 to 0.
func IncrementSequence(seq, n int32) int32 {
	return int32((uint32(seq) + uint32(n)) & 0x7fffffff)
}

// DecrementSequence is the sequence number n records before seq.
func DecrementSequence(seq, n int32) int32 {
	return int32((uint32(seq) - uint32(n)) & 0x7fffffff)
}
