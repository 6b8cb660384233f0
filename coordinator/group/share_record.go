package group

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The types of a share group's records; doc.go has their layout.
const (
	typeShareMember  = 10 // ShareGroupMemberMetadata
	typeShareGroup   = 11 // ShareGroupMetadata
	typeShareTarget  = 12 // ShareGroupTargetAssignmentMetadata
	typeShareGiven   = 13 // ShareGroupTargetAssignmentMember
	typeShareCurrent = 14 // ShareGroupCurrentMemberAssignment
	typeShareStates  = 15 // ShareGroupStatePartitionMetadata
)

// rowShareWork + group: states of that share group's partitions are to be initialised or deleted.
const rowShareWork = "\xffS"

// appendShareKey is the key of a record of the whole group.
func appendShareKey(b []byte, kind uint16, group string) []byte {
	return appendString(binary.BigEndian.AppendUint16(b, kind), group)
}

// shareMemberKey is the key of a record of one member.
func shareMemberKey(kind uint16, group, member string) []byte {
	return appendString(appendShareKey(nil, kind, group), member)
}

// decodeShareKey reads the key of any of a share group's records; member is empty for those of the whole group.
func decodeShareKey(b []byte) (group, member string, ok bool) {
	kind := recordType(b)
	if kind < typeShareMember || kind > typeShareStates {
		return "", "", false
	}
	if group, b, ok = readString(b[2:]); !ok {
		return "", "", false
	}
	if kind == typeShareMember || kind == typeShareGiven || kind == typeShareCurrent {
		if member, b, ok = readString(b); !ok {
			return "", "", false
		}
	}
	return group, member, len(b) == 0
}

// topicPartitions is some partitions of one topic.
type topicPartitions struct {
	topic      uuid.ID
	partitions []int32
}

func (m *shareMember) appendValue(b []byte) []byte {
	b = append(b, 0, 0)
	if m.rack == nil {
		b = append(b, 0)
	} else {
		b = appendCompact(b, *m.rack)
	}
	b = appendCompact(b, m.clientID)
	b = appendCompact(b, m.clientHost)
	b = binary.AppendUvarint(b, uint64(len(m.topics))+1)
	for _, t := range m.topics {
		b = appendCompact(b, t)
	}
	return append(b, 0)
}

func decodeShareMember(id string, b []byte) (*shareMember, error) {
	r, err := shareReader(b, "member")
	if err != nil {
		return nil, err
	}
	m := &shareMember{id: id}
	if n := r.uvarint(); n > 0 {
		rack := string(r.take(n - 1))
		m.rack = &rack
	}
	m.clientID, m.clientHost = r.compactString(), r.compactString()
	n := r.length(1)
	m.topics = make([]string, 0, n)
	for range n {
		m.topics = append(m.topics, r.compactString())
	}
	return m, r.end("member")
}

func shareGroupValue(epoch int32, hash int64) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(epoch))
	return append(binary.BigEndian.AppendUint64(b, uint64(hash)), 0)
}

func decodeShareGroup(b []byte) (epoch int32, hash int64, err error) {
	r, err := shareReader(b, "group")
	if err != nil {
		return 0, 0, err
	}
	epoch, hash = int32(r.uint32()), int64(r.uint64())
	return epoch, hash, r.end("group")
}

// shareTargetValue is the epoch of a target assignment and when it was made, in ms; 0: not told.
func shareTargetValue(epoch int32, at int64) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(epoch))
	if at == 0 {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint64(append(b, 1, 0, 8), uint64(at)) // one tag: number 0, 8 bytes
}

func decodeShareTarget(b []byte) (epoch int32, at int64, err error) {
	r, err := shareReader(b, "target assignment")
	if err != nil {
		return 0, 0, err
	}
	epoch = int32(r.uint32())
	r.tags(func(tag uint64, value []byte) {
		if tag == 0 && len(value) == 8 {
			at = int64(binary.BigEndian.Uint64(value))
		}
	})
	if r.short {
		return 0, 0, errShareShort("target assignment", len(b))
	}
	return epoch, at, nil
}

func shareTargetMemberValue(a []topicPartitions) []byte {
	return append(appendAssignment([]byte{0, 0}, a), 0)
}

func decodeShareTargetMember(b []byte) ([]topicPartitions, error) {
	r, err := shareReader(b, "member's target")
	if err != nil {
		return nil, err
	}
	a := r.assignment()
	return a, r.end("member's target")
}

// shareStable is the state of every member: share groups take nothing away before they give.
const shareStable = 0

func shareCurrentValue(epoch, previous int32, a []topicPartitions) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(previous))
	return append(appendAssignment(append(b, shareStable), a), 0)
}

func decodeShareCurrent(b []byte) (epoch, previous int32, a []topicPartitions, err error) {
	r, err := shareReader(b, "member's assignment")
	if err != nil {
		return 0, 0, nil, err
	}
	epoch, previous = int32(r.uint32()), int32(r.uint32())
	r.take(1)
	a = r.assignment()
	return epoch, previous, a, r.end("member's assignment")
}

// stateParts is some partitions of a topic as the record of states names them.
type stateParts struct {
	topicPartitions
	name string
}

// statesValue is a decoded ShareGroupStatePartitionMetadata; the partitions of deleting are not in the record.
type statesValue struct {
	initializing, initialized, deleting []stateParts
}

func (v *statesValue) append(b []byte) []byte {
	b = append(b, 0, 0)
	for _, list := range [][]stateParts{v.initializing, v.initialized} {
		b = binary.AppendUvarint(b, uint64(len(list))+1)
		for _, t := range list {
			b = appendPartitions(appendCompact(append(b, t.topic[:]...), t.name), t.partitions)
			b = append(b, 0)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(v.deleting))+1)
	for _, t := range v.deleting {
		b = append(appendCompact(append(b, t.topic[:]...), t.name), 0)
	}
	return append(b, 0)
}

func decodeShareStates(b []byte) (*statesValue, error) {
	r, err := shareReader(b, "states")
	if err != nil {
		return nil, err
	}
	v := new(statesValue)
	for _, list := range []*[]stateParts{&v.initializing, &v.initialized} {
		for n := r.length(19); n > 0 && !r.short; n-- {
			var t stateParts
			t.topic, t.name = r.uuid(), r.compactString()
			t.partitions = r.partitions()
			r.tags(skipTag)
			*list = append(*list, t)
		}
	}
	for n := r.length(18); n > 0 && !r.short; n-- {
		var t stateParts
		t.topic, t.name = r.uuid(), r.compactString()
		r.tags(skipTag)
		v.deleting = append(v.deleting, t)
	}
	return v, r.end("states")
}

func appendCompact(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
}

func appendPartitions(b []byte, all []int32) []byte {
	b = binary.AppendUvarint(b, uint64(len(all))+1)
	for _, p := range all {
		b = binary.BigEndian.AppendUint32(b, uint32(p))
	}
	return b
}

func appendAssignment(b []byte, a []topicPartitions) []byte {
	b = binary.AppendUvarint(b, uint64(len(a))+1)
	for _, t := range a {
		b = append(appendPartitions(append(b, t.topic[:]...), t.partitions), 0)
	}
	return b
}

// shareReader begins to read a value, of the one version there is.
func shareReader(b []byte, what string) (*reader, error) {
	r := &reader{b: b}
	if version := r.uint16(); version != 0 || r.short {
		return nil, fmt.Errorf("share group's %s of version %d in %d bytes", what, version, len(b))
	}
	return r, nil
}

// end reads the tags at the end of a value, and tells whether it was whole.
func (r *reader) end(what string) error {
	left := len(r.b)
	r.tags(skipTag)
	if r.short {
		return errShareShort(what, left)
	}
	return nil
}

func errShareShort(what string, left int) error {
	return fmt.Errorf("share group's %s is cut short, %d bytes before its end", what, left)
}

func skipTag(uint64, []byte) {}

// length is that of a compact array whose elements take so many bytes at least; null is empty.
func (r *reader) length(element int) int {
	n := r.uvarint()
	if n == 0 {
		return 0
	}
	if n--; n > uint64(len(r.b)/element) {
		r.short, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) uuid() (id uuid.ID) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) partitions() []int32 {
	all := make([]int32, r.length(4))
	for i := range all {
		all[i] = int32(r.uint32())
	}
	return all
}

func (r *reader) assignment() (a []topicPartitions) {
	for n := r.length(18); n > 0 && !r.short; n-- {
		a = append(a, topicPartitions{r.uuid(), r.partitions()})
		r.tags(skipTag)
	}
	return a
}

// shareStatesRow keeps a record of states, and notes whether there is something to do about them.
func shareStatesRow(w runtime.Writer, e *runtime.Entry) error {
	if err := runtime.Raw(w, e); err != nil {
		return err
	}
	group, _, ok := decodeShareKey(e.Key)
	if !ok {
		return nil
	}
	row := append([]byte(rowShareWork), group...)
	if v, err := decodeShareStates(e.Value); err == nil && len(v.initializing)+len(v.deleting) > 0 {
		return w.Set(row, nil)
	}
	return w.Delete(row)
}
