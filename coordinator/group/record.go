package group

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// The types of records, which their keys begin with, in the topic __consumer_offsets.
// Those of other kinds of groups are kept in the table as they come.
const (
	typeOffsetOld = 0 // the same as typeOffset, written by brokers before 0.9
	typeOffset    = 1
	typeGroup     = 2
)

// Rows that have no record of their own; no record's key begins with 0xff.
const (
	rowLive    = "\xffL" // + group: the group has members, so it is in memory once loaded
	rowPending = "\xffP" // + see txn.go: an offset committed in an open transaction
	rowHolds   = "\xffH" // + see txn.go: which transactions hold a partition's offset
)

// groupValueVersion is the version of GroupMetadataValue that Kafka 4.4 writes.
const groupValueVersion = 3

// appendGroupKey encodes GroupMetadataKey.
func appendGroupKey(b []byte, group string) []byte {
	return appendString(binary.BigEndian.AppendUint16(b, typeGroup), group)
}

func liveKey(group string) []byte { return append([]byte(rowLive), group...) }

func recordType(key []byte) int {
	if len(key) < 2 {
		return -1
	}
	return int(binary.BigEndian.Uint16(key))
}

// groupRecord is the GroupMetadata record of a group as it will be.
func groupRecord(group string, v *kmsg.GroupMetadataValue) runtime.Record {
	v.Version = groupValueVersion
	return runtime.Record{Key: appendGroupKey(nil, group), Value: v.AppendTo(nil)}
}

func decodeGroupValue(b []byte) (*kmsg.GroupMetadataValue, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("group metadata of %d bytes", len(b))
	}
	if version := int16(binary.BigEndian.Uint16(b)); version < 0 || version > groupValueVersion {
		return nil, fmt.Errorf("group metadata of version %d", version)
	}
	v := new(kmsg.GroupMetadataValue)
	if err := v.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("group metadata of version %d: %w", v.Version, err)
	}
	return v, nil
}

// Rows makes the rows of a record of __consumer_offsets; it is runtime.Options.Rows.
func Rows(w runtime.Writer, e *runtime.Entry) error {
	if e.Marker != nil {
		return endTransaction(w, e)
	}
	switch recordType(e.Key) {
	case typeOffset, typeOffsetOld:
		return offsetRow(w, e)
	case typeGroup:
		return groupRow(w, e)
	case typeShareStates:
		return shareStatesRow(w, e)
	}
	return runtime.Raw(w, e)
}

func groupRow(w runtime.Writer, e *runtime.Entry) error {
	if err := runtime.Raw(w, e); err != nil {
		return err
	}
	name, _, ok := readString(e.Key[2:])
	if !ok {
		return nil
	}
	if hasMembers(e.Value) {
		return w.Set(liveKey(name), nil)
	}
	return w.Delete(liveKey(name))
}

// hasMembers tells whether a GroupMetadata value lists members. One that cannot be read is
// taken for one that does not: it is kept, and reported when it is looked at.
func hasMembers(value []byte) bool {
	if value == nil {
		return false
	}
	v, err := decodeGroupValue(value)
	return err == nil && len(v.Members) > 0
}

func offsetRow(w runtime.Writer, e *runtime.Entry) error {
	key := e.Key
	if recordType(key) == typeOffsetOld {
		key = append([]byte{0, typeOffset}, key[2:]...)
	}
	switch {
	case e.Transactional && e.ProducerID >= 0:
		return holdOffset(w, e, key)
	case e.Value == nil:
		if err := w.Delete(key); err != nil {
			return err
		}
		return releaseOffset(w, key)
	}
	return w.Set(key, e.Value)
}
