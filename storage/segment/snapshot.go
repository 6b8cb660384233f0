package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A producer snapshot is Kafka's, followed by a part of our own that Kafka's readers pass over: Kafka keeps only the last
// batch of each producer in it, and would call a producer that repeats one of the four before it out of sequence after a
// restart.
//
//	 0  int16   version, 1
//	 2  uint32  CRC-32C of everything from byte 6 on
//	 6  int32   number of producers; each:
//	      int64  producer id
//	      int16  producer epoch
//	      int32  last sequence, -1: none
//	      int64  last offset, -1: none
//	      int32  last offset less first offset of the last batch
//	      int64  timestamp of the last batch or marker, ms
//	      int32  epoch of the transaction coordinator, -1: none
//	      int64  first offset of the open transaction, -1: none
//	then   uint32  "TMK1"
//	       int32   number of batches that follow; each:
//	      int32  index of the producer above; a producer's batches are together, oldest first
//	      int32  last sequence
//	      int64  last offset
//	      int32  last offset less first offset
//	      int64  timestamp, ms

// ProducerBatches is how many of its last batches are remembered of each producer, as in Kafka.
const ProducerBatches = 5

// Producer is what a snapshot holds of one producer.
type Producer struct {
	ID               int64
	Epoch            int16
	CoordinatorEpoch int32 // -1: none
	TxnStart         int64 // first offset of the open transaction, -1: none
	LastTime         int64 // ms, of the last batch or marker
	NumBatches       int
	Batches          [ProducerBatches]ProducerBatch // NumBatches of them, oldest first
}

// ProducerBatch is one batch of a producer.
type ProducerBatch struct {
	LastOffset   int64
	Timestamp    int64 // largest of the batch, ms
	LastSequence int32
	Delta        int32 // last offset less first offset
}

// FirstOffset is the offset of the batch's first record.
func (b *ProducerBatch) FirstOffset() int64 { return b.LastOffset - int64(b.Delta) }

const (
	snapshotVersion = 1
	snapshotHeader  = 10
	producerSize    = 46
	olderMagic      = 0x544d4b31 // "TMK1"
	olderSize       = 28
	// MaxSnapshot bounds a snapshot file: 8 million producers with all their batches.
	MaxSnapshot = 8_000_000 * (producerSize + (ProducerBatches-1)*olderSize)
)

// EncodeSnapshot is the content of a snapshot file. Producers yields each producer once.
func EncodeSnapshot(count int, producers func(yield func(*Producer) bool)) []byte {
	b := make([]byte, snapshotHeader, snapshotHeader+count*producerSize+8)
	binary.BigEndian.PutUint16(b, snapshotVersion)
	var older []byte
	n := 0
	for p := range producers {
		last := ProducerBatch{LastOffset: -1, LastSequence: -1}
		if p.NumBatches > 0 {
			last = p.Batches[p.NumBatches-1]
		}
		b = binary.BigEndian.AppendUint64(b, uint64(p.ID))
		b = binary.BigEndian.AppendUint16(b, uint16(p.Epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(last.LastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(last.LastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(last.Delta))
		b = binary.BigEndian.AppendUint64(b, uint64(p.LastTime))
		b = binary.BigEndian.AppendUint32(b, uint32(p.CoordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.TxnStart))
		for i := range p.NumBatches - 1 {
			older = appendOlder(older, n, &p.Batches[i])
		}
		n++
	}
	binary.BigEndian.PutUint32(b[6:], uint32(n))
	b = binary.BigEndian.AppendUint32(b, olderMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(len(older)/olderSize))
	b = append(b, older...)
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

func appendOlder(dst []byte, producer int, b *ProducerBatch) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(producer))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.LastSequence))
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.LastOffset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.Delta))
	return binary.BigEndian.AppendUint64(dst, uint64(b.Timestamp))
}

// DecodeSnapshot reads a snapshot file. Errors wrap ErrSideFile, ErrNewerVersion. A snapshot that Kafka wrote is read as well.
func DecodeSnapshot(data []byte) ([]Producer, error) {
	if len(data) < snapshotHeader {
		return nil, fmt.Errorf("%w: producer snapshot of %d bytes", ErrSideFile, len(data))
	}
	if v := binary.BigEndian.Uint16(data); v != snapshotVersion {
		return nil, fmt.Errorf("%w: producer snapshot of version %d", ErrNewerVersion, v)
	}
	if got, want := crc32.Checksum(data[6:], castagnoli), binary.BigEndian.Uint32(data[2:]); got != want {
		return nil, fmt.Errorf("%w: checksum of a producer snapshot is %08x, stored is %08x", ErrSideFile, got, want)
	}
	n := int(int32(binary.BigEndian.Uint32(data[6:])))
	rest := data[snapshotHeader:]
	if n < 0 || n > len(rest)/producerSize {
		return nil, fmt.Errorf("%w: %d bytes for %d producers", ErrSideFile, len(rest), n)
	}
	older := rest[n*producerSize:]
	producers := make([]Producer, n)
	if err := decodeOlder(older, producers); err != nil {
		return nil, err
	}
	for i := range producers {
		producers[i].decode(rest[i*producerSize:])
	}
	return producers, nil
}

func (p *Producer) decode(b []byte) {
	u32 := func(i int) int32 { return int32(binary.BigEndian.Uint32(b[i:])) }
	u64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
	p.ID, p.Epoch = u64(0), int16(binary.BigEndian.Uint16(b[8:]))
	p.LastTime, p.CoordinatorEpoch, p.TxnStart = u64(26), u32(34), u64(38)
	if last := u64(14); last >= 0 {
		p.Batches[p.NumBatches] = ProducerBatch{LastOffset: last, LastSequence: u32(10), Delta: u32(22), Timestamp: p.LastTime}
		p.NumBatches++
	}
}

// decodeOlder reads the part that is ours, if there is one.
func decodeOlder(b []byte, producers []Producer) error {
	if len(b) < 8 || binary.BigEndian.Uint32(b) != olderMagic {
		return nil
	}
	n, b := int(int32(binary.BigEndian.Uint32(b[4:]))), b[8:]
	if n < 0 || n > len(b)/olderSize {
		return fmt.Errorf("%w: %d bytes for %d older batches", ErrSideFile, len(b), n)
	}
	for ; n > 0; n, b = n-1, b[olderSize:] {
		i := int(int32(binary.BigEndian.Uint32(b)))
		if i < 0 || i >= len(producers) || producers[i].NumBatches >= ProducerBatches-1 {
			return fmt.Errorf("%w: an older batch of producer %d of %d", ErrSideFile, i, len(producers))
		}
		p := &producers[i]
		p.Batches[p.NumBatches] = ProducerBatch{
			LastSequence: int32(binary.BigEndian.Uint32(b[4:])),
			LastOffset:   int64(binary.BigEndian.Uint64(b[8:])),
			Delta:        int32(binary.BigEndian.Uint32(b[16:])),
			Timestamp:    int64(binary.BigEndian.Uint64(b[20:])),
		}
		p.NumBatches++
	}
	return nil
}
