package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestOffsetRecordsAreKafkas(t *testing.T) {
	key := kmsg.OffsetCommitKey{Version: 1, Group: "grüppe", Topic: "t", Partition: 7}
	require.Equal(t, key.AppendTo(nil), appendOffsetKey(nil, "grüppe", "t", 7))
	decoded, ok := decodeOffsetKey(key.AppendTo(nil))
	require.True(t, ok)
	require.Equal(t, offsetKey{"grüppe", "t", 7}, decoded)

	for _, v := range []offsetValue{
		{offset: 5, leaderEpoch: 3, metadata: "méta", committed: 1234, expires: -1, topic: uuid.ID{1, 2, 3}},
		{offset: -1, leaderEpoch: -1, committed: 9, expires: -1},
		{offset: 5, leaderEpoch: -1, metadata: "m", committed: 1234, expires: 5678},
	} {
		want := kmsg.OffsetCommitValue{
			Version: 4, Offset: v.offset, LeaderEpoch: v.leaderEpoch, Metadata: v.metadata,
			CommitTimestamp: v.committed, ExpireTimestamp: v.expires, TopicID: v.topic,
		}
		if v.expires >= 0 {
			want.Version = 1
		}
		require.Equal(t, want.AppendTo(nil), v.append(nil))
		got, err := decodeOffsetValue(v.append(nil))
		require.NoError(t, err)
		require.Equal(t, v, *got)
	}
	for version := int16(0); version <= 4; version++ {
		old := kmsg.OffsetCommitValue{Version: version, Offset: 8, LeaderEpoch: 2, Metadata: "m", CommitTimestamp: 3, ExpireTimestamp: 4}
		got, err := decodeOffsetValue(old.AppendTo(nil))
		require.NoError(t, err)
		require.EqualValues(t, 8, got.offset)
		require.Equal(t, "m", got.metadata)
		require.EqualValues(t, 3, got.committed)
		require.Equal(t, version == 1, got.expires == 4)
		require.Equal(t, version >= 3, got.leaderEpoch == 2)
	}
}

func TestGroupOfAnyVersionIsRestored(t *testing.T) {
	protocol, leader, instance := "range", "b", "i"
	for version := int16(0); version <= 3; version++ {
		v := kmsg.GroupMetadataValue{
			Version: version, ProtocolType: "consumer", Generation: 4, Protocol: &protocol, Leader: &leader, CurrentStateTimestamp: 77,
			Members: []kmsg.GroupMetadataValueMember{
				{MemberID: "a", InstanceID: &instance, ClientID: "c", ClientHost: "/h", RebalanceTimeoutMillis: 5000, SessionTimeoutMillis: 9000, Subscription: []byte("s"), Assignment: []byte("x")},
				{MemberID: "b", RebalanceTimeoutMillis: 5000, SessionTimeoutMillis: 9000},
			},
		}
		decoded, err := decodeGroupValue(v.AppendTo(nil))
		require.NoError(t, err)
		g := restore("g", decoded)
		require.Equal(t, stable, g.phase)
		require.EqualValues(t, 4, g.generation)
		require.Equal(t, "b", g.leader)
		require.Equal(t, 9*time.Second, g.byID["a"].session)
		require.Equal(t, version == 0, g.byID["a"].rebalance == 9*time.Second)
		require.Equal(t, version >= 2, !g.since.IsZero())
		require.Equal(t, version >= 3, g.static["i"] != nil)
		require.Equal(t, "x", string(g.byID["a"].assignment))
	}
}

func FuzzRecords(f *testing.F) {
	key := appendOffsetKey(nil, "g", "t", 1)
	f.Add(key, (&offsetValue{offset: 1, metadata: "m", expires: -1, topic: uuid.ID{1}}).append(nil))
	f.Add(key, (&offsetValue{offset: 1, expires: 5}).append(nil))
	g := newGroup("g", time.UnixMilli(1))
	g.protocol = "range"
	g.add(&member{id: "a", protocols: []protocol{{"range", []byte{0, 1, 0, 0, 0, 1, 0, 1, 't'}}}})
	r := groupRecord("g", g.value(map[string][]byte{"a": []byte("x")}))
	f.Add(r.Key, r.Value)
	f.Add([]byte{0, 2, 0, 200}, []byte{0, 3, 0xff, 0xff, 0x7f})
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if k, ok := decodeOffsetKey(key); ok {
			again, ok := decodeOffsetKey(appendOffsetKey(nil, k.group, k.topic, k.partition))
			require.True(t, ok)
			require.Equal(t, k, again)
		}
		if v, err := decodeOffsetValue(value); err == nil && v.expires >= -1 {
			again, err := decodeOffsetValue(v.append(nil))
			require.NoError(t, err)
			require.Equal(t, v.offset, again.offset)
			require.Equal(t, v.metadata, again.metadata)
		}
		if v, err := decodeGroupValue(value); err == nil {
			restore("g", v)
		}
		subscription(value, map[string]bool{})
	})
}
