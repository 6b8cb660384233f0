package runtime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// head says what a view holds: the rows of the records below applied, of the topic with
// that id. epoch is the leader epoch of the last of them.
type head struct {
	topic   uuid.ID
	applied int64
	epoch   int32
	asOf    time.Time // when nothing committed was above applied
}

const (
	headFormat = 1
	headSize   = 1 + 16 + 8 + 4 + 8
	keyHead    = 0
	keyRow     = 1
)

func (h head) encode() []byte {
	b := make([]byte, 0, headSize)
	b = append(b, headFormat)
	b = append(b, h.topic[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.applied))
	b = binary.BigEndian.AppendUint32(b, uint32(h.epoch))
	return binary.BigEndian.AppendUint64(b, uint64(h.asOf.UnixMilli()))
}

// decodeHead answers false for a head that this version does not know, whose view is then
// made again.
func decodeHead(b []byte) (h head, ok bool) {
	if len(b) != headSize || b[0] != headFormat {
		return head{}, false
	}
	copy(h.topic[:], b[1:])
	h.applied = int64(binary.BigEndian.Uint64(b[17:]))
	h.epoch = int32(binary.BigEndian.Uint32(b[25:]))
	h.asOf = time.UnixMilli(int64(binary.BigEndian.Uint64(b[29:])))
	return h, h.applied >= 0
}

// agrees tells why a view must not be used with a log that ends at end; empty if it may.
//
// A view of committed records can only disagree with its log after an accident: files
// restored from elsewhere, a leader elected without the records. The last record the view
// has seen is looked up again; a batch at or after it of the same leader epoch proves that
// the same leader wrote both, because epochs only grow along a log.
func (h head) agrees(log Log, end int64, topic uuid.ID, deleteRetention time.Duration, now time.Time) (why string, err error) {
	switch {
	case h.topic != topic:
		return "it is of another topic", nil
	case h.applied > end:
		return fmt.Sprintf("it is at %d, past the log's end %d", h.applied, end), nil
	case h.applied < log.Start():
		return fmt.Sprintf("it is at %d, below the log's start %d", h.applied, log.Start()), nil
	case h.applied == 0:
		return "", nil
	case h.applied < end && now.Sub(h.asOf) > deleteRetention/2:
		return fmt.Sprintf("it is of %s: tombstones since may be gone", h.asOf.UTC().Format(time.RFC3339)), nil
	case h.applied == log.Start():
		return "the log no longer holds its last record", nil
	}
	chunk, err := log.Read(h.applied-1, record.HeaderSize)
	if err != nil {
		return "", fmt.Errorf("read at offset %d: %w", h.applied-1, err)
	}
	batch, _, err := record.First(chunk)
	if len(chunk) == 0 || errors.Is(err, record.ErrShort) {
		return "the log no longer holds its last record", nil
	}
	if err != nil {
		return "", fmt.Errorf("batch at offset %d: %w", h.applied-1, err)
	}
	if epoch := batch.LeaderEpoch(); epoch != h.epoch {
		return fmt.Sprintf("its last record is of epoch %d, the log has epoch %d there", h.epoch, epoch), nil
	}
	return "", nil
}

// store is one partition's rows, with the head among them, as Pebble or a test keeps them.
type store interface {
	storeReader
	snapshot() (storeSnapshot, error)
	// write makes what fn does take effect together, without a sync.
	write(fn func(storeWriter)) error
}

type storeReader interface {
	get(key []byte) (value []byte, ok bool, err error)
	iterate(lower, upper []byte, fn func(key, value []byte) bool) error
}

type storeSnapshot interface {
	storeReader
	close()
}

// storeWriter copies what it is given.
type storeWriter interface {
	set(key, value []byte)
	delete(key []byte)
	deleteAll()
}

// view is one partition's rows by their own keys, and the head.
type view struct{ store }

func rowKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), keyRow), key...)
}

func (v view) head() (head, bool, error) {
	b, ok, err := v.get([]byte{keyHead})
	if err != nil || !ok {
		return head{}, false, err
	}
	h, ok := decodeHead(b)
	return h, ok, nil
}

// drop removes the head and all rows.
func (v view) drop() error { return v.write(storeWriter.deleteAll) }

// Get implements Reader.
func (v view) Get(key []byte) ([]byte, bool, error) { return v.get(rowKey(key)) }

// Scan implements Reader.
func (v view) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	return scan(v, prefix, from, fn)
}

func scan(r storeReader, prefix, from []byte, fn func(key, value []byte) bool) error {
	lower, upper := rowKey(prefix), prefixEnd(rowKey(prefix))
	if from := rowKey(from); bytes.Compare(from, lower) > 0 {
		lower = from
	}
	return r.iterate(lower, upper, func(key, value []byte) bool { return fn(key[1:], value) })
}

// snapshot is the committed rows as they were at one moment.
type snapshot struct{ storeSnapshot }

// Get implements Reader.
func (s snapshot) Get(key []byte) ([]byte, bool, error) { return s.get(rowKey(key)) }

// Scan implements Reader.
func (s snapshot) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	return scan(s, prefix, from, fn)
}

// batch collects rows, to be committed with the head that goes with them.
func (v view) batch() *viewBatch {
	return &viewBatch{view: v, deltaWriter: deltaWriter{live: live{newDelta(), v}}}
}

// viewBatch holds its rows in a delta, which lets Rows read what it wrote, and of a row
// written many times only the last.
type viewBatch struct {
	deltaWriter
	view view
}

// commit makes rows and head visible together. After a crash the view may be older,
// together with its head. The batch is done with.
func (b *viewBatch) commit(h head) error {
	return b.view.write(func(w storeWriter) {
		var k []byte
		for key, row := range b.delta.rows {
			if k = append(append(k[:0], keyRow), key...); row.value == nil {
				w.delete(k)
			} else {
				w.set(k, row.value)
			}
		}
		w.set([]byte{keyHead}, h.encode())
	})
}
