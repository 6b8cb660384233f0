package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// castagnoli selects the processor's own instruction where it has one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CheckCRC compares the stored checksum with the bytes. ErrCorrupt tells both.
func (b Batch) CheckCRC() error {
	if len(b) < HeaderSize {
		return fmt.Errorf("%w: a batch of %d bytes", ErrCorrupt, len(b))
	}
	if got := crc32.Checksum(b[attributesAt:], castagnoli); got != b.CRC() {
		return fmt.Errorf("%w: checksum is %08x, stored is %08x", ErrCorrupt, got, b.CRC())
	}
	return nil
}

// Stamp writes the base offset and the leader's epoch, which the checksum leaves out.
func (b Batch) Stamp(base int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(leaderEpoch))
}

// SetAppendTime makes ms the time of all records, as for a topic with message.timestamp.type=LogAppendTime.
func (b Batch) SetAppendTime(ms int64) { b.setMaxTimestamp(true, ms) }

// setMaxTimestamp corrects the header where it says something else. Like Kafka it then drops attributes that mean nothing.
func (b Batch) setMaxTimestamp(appendTime bool, ms int64) {
	if b.IsAppendTime() == appendTime && b.MaxTimestamp() == ms {
		return
	}
	attributes := uint16(b.Attributes()) & knownAttributes &^ appendTimeBit
	if appendTime {
		attributes |= appendTimeBit
	}
	binary.BigEndian.PutUint16(b[attributesAt:], attributes)
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(ms))
	b.putCRC()
}

func (b Batch) putCRC() {
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
}
