package group

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// kafkaShareRecords is what Apache Kafka 4.4.0 wrote to __consumer_offsets for share groups that were joined by members, subscribed
// to more topics, altered, and lost topics: key, value, and what it says.
var kafkaShareRecords = [][3]string{
	{"000a0002673000047761726d", "000000046b676f0b2f3132372e302e302e310203616100", `member g0/warm rack=<nil> kgo /127.0.0.1 [aa]`},
	{"000a00016700026d31", "000000046b676f0b2f3132372e302e302e3104036161036262037a7a00", `member g/m1 rack=<nil> kgo /127.0.0.1 [aa bb zz]`},
	{"000a00067261636b656400016d", "0000037231046b676f0b2f3132372e302e302e310203616100", `member racked/m rack=r1 kgo /127.0.0.1 [aa]`},
	{"000a00067261636b656400016d", "0000037232046b676f0b2f3132372e302e302e310100", `member racked/m rack=r2 kgo /127.0.0.1 []`},
	{"000b000167", "000000000002bb0ac973b6ac185700", `group g epoch=2 hash=bb0ac973b6ac1857`},
	{"000b000167", "00000000000b000000000000000000", `group g epoch=11 hash=0`},
	{"000c000167", "000000000002010008000001a2098c7e59", `target g epoch=2 at=1795456532057`},
	{"000c000167", "00000000000b00", `target g epoch=11 at=0`},
	{"000d00016700026d31", "00000100", `target of g/m1 []`},
	{"000d00016700026d31", "000003e29818270c4449e8a845f1397bd159a303000000000000000100a666a41616df4652a1a2b9de57bfda7005000000000000000100000002000000030000",
		`target of g/m1 [e298:[0 1] a666:[0 1 2 3]]`},
	{"000e00016700026d31", "00000000000200000000000100", `current of g/m1 epoch=2/0 []`},
	{"000e00016700026d31", "000000000005000000040003e29818270c4449e8a845f1397bd159a3020000000100a666a41616df4652a1a2b9de57bfda700300000002000000030000",
		`current of g/m1 epoch=5/4 [e298:[1] a666:[2 3]]`},
	{"000f000167", "000002e0b9642a287246a39758ec19e678d8ce037a7a02000000000003e29818270c4449e8a845f1397bd159a303626203000000000000000100a666a41616df4652a1a2b9de57bfda700361610500000000000000010000000200000003000100",
		`states g initializing [zz e0b9:[0]] initialized [bb e298:[0 1] aa a666:[0 1 2 3]] deleting []`},
	{"000f000167", "00000102e29818270c4449e8a845f1397bd159a30362620300000000000000010002a666a41616df4652a1a2b9de57bfda700361610000",
		`states g initializing [] initialized [bb e298:[0 1]] deleting [aa a666:[]]`},
	{"000f00056672657368", "000002a666a41616df4652a1a2b9de57bfda70036161020000000000010100", `states fresh initializing [aa a666:[0]] initialized [] deleting []`},
}

// shareLine shows a share group's record, and encodes it again.
func shareLine(t require.TestingT, key, value []byte) (text string, again []byte) {
	group, member, ok := decodeShareKey(key)
	require.True(t, ok)
	parts := func(all []topicPartitions) string {
		var out []string
		for _, p := range all {
			out = append(out, fmt.Sprintf("%x:%v", p.topic[:2], p.partitions))
		}
		return fmt.Sprint(out)
	}
	switch recordType(key) {
	case typeShareMember:
		m, err := decodeShareMember(member, value)
		require.NoError(t, err)
		rack := "<nil>"
		if m.rack != nil {
			rack = *m.rack
		}
		return fmt.Sprintf("member %s/%s rack=%s %s %s %v", group, member, rack, m.clientID, m.clientHost, m.topics), m.appendValue(nil)
	case typeShareGroup:
		epoch, hash, err := decodeShareGroup(value)
		require.NoError(t, err)
		return fmt.Sprintf("group %s epoch=%d hash=%x", group, epoch, uint64(hash)), shareGroupValue(epoch, hash)
	case typeShareTarget:
		epoch, at, err := decodeShareTarget(value)
		require.NoError(t, err)
		return fmt.Sprintf("target %s epoch=%d at=%d", group, epoch, at), shareTargetValue(epoch, at)
	case typeShareGiven:
		a, err := decodeShareTargetMember(value)
		require.NoError(t, err)
		return fmt.Sprintf("target of %s/%s %s", group, member, parts(a)), shareTargetMemberValue(a)
	case typeShareCurrent:
		epoch, previous, a, err := decodeShareCurrent(value)
		require.NoError(t, err)
		return fmt.Sprintf("current of %s/%s epoch=%d/%d %s", group, member, epoch, previous, parts(a)), shareCurrentValue(epoch, previous, a)
	}
	v, err := decodeShareStates(value)
	require.NoError(t, err)
	states := func(all []stateParts) string {
		var out []string
		for _, p := range all {
			out = append(out, fmt.Sprintf("%s %x:%v", p.name, p.topic[:2], p.partitions))
		}
		return fmt.Sprint(out)
	}
	return fmt.Sprintf("states %s initializing %s initialized %s deleting %s", group, states(v.initializing), states(v.initialized), states(v.deleting)), v.append(nil)
}

func TestShareRecordsAreKafkas(t *testing.T) {
	for _, r := range kafkaShareRecords {
		key, err := hex.DecodeString(r[0])
		require.NoError(t, err)
		text, again := shareLine(t, key, unhex(t, r[1]))
		require.Equal(t, r[2], text)
		require.Equal(t, r[1], hex.EncodeToString(again), text)
		group, member, _ := decodeShareKey(key)
		made := appendShareKey(nil, uint16(recordType(key)), group)
		if member != "" {
			made = shareMemberKey(uint16(recordType(key)), group, member)
		}
		require.Equal(t, key, made)
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func FuzzShareRecords(f *testing.F) {
	for _, r := range kafkaShareRecords {
		key, _ := hex.DecodeString(r[0])
		value, _ := hex.DecodeString(r[1])
		f.Add(key, value)
	}
	f.Add([]byte{0, 15, 0, 0}, []byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if group, member, ok := decodeShareKey(key); ok {
			made := appendShareKey(nil, uint16(recordType(key)), group)
			if kind := recordType(key); kind == typeShareMember || kind == typeShareGiven || kind == typeShareCurrent {
				made = shareMemberKey(uint16(kind), group, member)
			}
			require.Equal(t, key, made)
		}
		if m, err := decodeShareMember("m", value); err == nil {
			again, err := decodeShareMember("m", m.appendValue(nil))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if epoch, at, err := decodeShareTarget(value); err == nil {
			e, a, err := decodeShareTarget(shareTargetValue(epoch, at))
			require.NoError(t, err)
			require.Equal(t, []int64{int64(epoch), at}, []int64{int64(e), a})
		}
		if a, err := decodeShareTargetMember(value); err == nil {
			again, err := decodeShareTargetMember(shareTargetMemberValue(a))
			require.NoError(t, err)
			require.Equal(t, a, again)
			require.Equal(t, normalise(a), normalise(normalise(a)))
		}
		if epoch, previous, a, err := decodeShareCurrent(value); err == nil {
			_, _, again, err := decodeShareCurrent(shareCurrentValue(epoch, previous, a))
			require.NoError(t, err)
			require.Equal(t, a, again)
		}
		if v, err := decodeShareStates(value); err == nil {
			again, err := decodeShareStates(v.append(nil))
			require.NoError(t, err)
			require.Equal(t, v, again)
			s := statesOf(v)
			s.todo("g", func(uuid.ID) int32 { return 1 })
			require.Equal(t, s.value(), statesOf(s.value()).value())
		}
	})
}
