package wire

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func int32s(values ...int32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func text(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

var (
	nullText = []byte{0xff, 0xff}
	huge     = []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // 2^32-1 as a varint
)

// What Apache Kafka 4.4.0 did with malformed requests: answered, or closed the connection.
func TestMalformedRequestsFareAsInKafka(t *testing.T) {
	for _, c := range []struct {
		name         string
		key, version int16
		body         []byte
		answered     bool
	}{
		{"metadata, null topics", 3, 1, int32s(-1), true},
		{"metadata, null topics before they were nullable", 3, 0, int32s(-1), false},
		{"metadata, -2 topics", 3, 1, int32s(-2), true},
		{"metadata, null name", 3, 1, cat(int32s(1), nullText), false},
		{"metadata, name of length -2", 3, 1, cat(int32s(1), []byte{0xff, 0xfe}), false},
		{"metadata, 2^31-1 topics", 3, 1, int32s(1<<31 - 1), false},
		{"metadata, 1000001 topics", 3, 1, cat(int32s(1000001), make([]byte, 100)), false},
		{"metadata, compact null name", 3, 9, []byte{2, 0, 0, 1, 0, 0, 0}, false},
		{"metadata, 2^32-2 topics", 3, 9, huge, false},
		{"metadata, a length of six bytes", 3, 9, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}, false},
		{"metadata, 2^32-1 tags", 3, 9, cat([]byte{1, 0, 0, 0}, huge), false},
		{"metadata, an unknown tag", 3, 9, []byte{1, 0, 0, 0, 1, 5, 1, 'x'}, true},
		{"metadata, a tag twice", 3, 9, []byte{1, 0, 0, 0, 2, 5, 1, 'x', 5, 1, 'y'}, true},
		{"metadata, tags out of order", 3, 9, []byte{1, 0, 0, 0, 2, 5, 1, 'x', 4, 1, 'y'}, true},
		{"metadata, a tag longer than the frame", 3, 9, []byte{1, 0, 0, 0, 1, 5, 100, 'x'}, false},
		{"metadata, a boolean of 2", 3, 9, []byte{1, 2, 0, 0, 0}, true},
		{"find coordinator, null key", 10, 0, nullText, false},
		{"describe groups, null list", 15, 0, int32s(-1), false},
		{"delete groups, null list", 42, 0, int32s(-1), false},
		{"heartbeat, null group", 12, 0, cat(nullText, int32s(1), text("m")), false},
		{"heartbeat, null member", 12, 0, cat(text("g"), int32s(1), nullText), false},
		{"heartbeat, group is no UTF-8", 12, 0, cat(text("\xff\xfe"), int32s(1), text("m")), true},
		{"join group, null metadata", 11, 0, cat(text("g"), int32s(10000), text(""), text("c"), int32s(1), text("p"), int32s(-1)), false},
		{"sync group, null assignments", 14, 0, cat(text("g"), int32s(1), text("m"), int32s(-1)), false},
		{"produce, null topics", 0, 3, cat(nullText, []byte{0, 1}, int32s(1000, -1)), false},
		{"fetch, null topics", 1, 4, cat(int32s(-1, 0, 0, 1000), []byte{0}, int32s(-1)), false},
		{"list offsets, null topics", 2, 1, int32s(-1, -1), false},
		{"offset fetch, null topics", 9, 2, cat(text("g"), int32s(-1)), true},
		{"offset fetch, null topics before they were nullable", 9, 1, cat(text("g"), int32s(-1)), false},
		{"create topics, null topics", 19, 2, cat(int32s(-1, 1000), []byte{0}), false},
		{"delete topics, null names", 20, 1, int32s(-1, 1000), false},
		{"describe configs, null resources", 32, 1, cat(int32s(-1), []byte{0}), false},
		{"sasl handshake, null mechanism", 17, 1, nullText, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Check(c.key, c.version, c.body)
			if c.answered {
				require.NoError(t, err)
				_, _, err = Decode(Header{Key: c.key, Version: c.version}, c.body)
				require.NoError(t, err)
				return
			}
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed)
			require.Equal(t, c.key, malformed.Key)
			require.Equal(t, c.version, malformed.Version)
			require.NotEmpty(t, malformed.Reason)
		})
	}
}

// The only tags that requests of 4.4 define are Fetch's.
func TestTagsOfFetch(t *testing.T) {
	fetch := func(version int16, tags ...byte) error {
		body := make([]byte, 4+4+4+1+4+4) // max wait, bytes, isolation, session
		if version < 15 {
			body = append(body, 0, 0, 0, 0) // replica id
		}
		body = append(body, 1, 1, 1) // no topics, nothing forgotten, no rack
		_, err := Check(1, version, append(body, tags...))
		return err
	}
	state := append([]byte{1, 13}, make([]byte, 13)...) // id, epoch, no tags
	require.NoError(t, fetch(12, 0))
	require.NoError(t, fetch(12, 1, 0, 3, 3, 'i', 'd'))
	require.NoError(t, fetch(12, 1, 0, 1, 0), "a null cluster id")
	require.NoError(t, fetch(12, 2, 0, 2, 2, 'i', 0, 2, 2, 'j'), "the same tag twice")
	require.ErrorContains(t, fetch(12, 1, 0, 4, 3, 'i', 'd', 0), "another size")
	require.ErrorContains(t, fetch(12, 1, 0, 2, 3, 'i', 'd', 0), "longer than")
	require.ErrorContains(t, fetch(12, 1, 0, 0), "ends here")
	require.NoError(t, fetch(15, append([]byte{1}, state...)...))
	require.NoError(t, fetch(15, append([]byte{2, 0, 3, 3, 'i', 'd'}, state...)...))
	// Kafka closes the connection on a replica state below version 15.
	require.ErrorContains(t, fetch(12, append([]byte{1}, state...)...), "later version")
	require.ErrorContains(t, fetch(14, append([]byte{1}, state...)...), "later version")
}

func TestNullStructures(t *testing.T) {
	describe := func(cursor ...byte) error {
		_, err := Check(75, 0, append([]byte{1, 0, 0, 0, 9}, cursor...))
		return err
	}
	require.NoError(t, describe(0xff, 0))
	require.NoError(t, describe(1, 2, 't', 0, 0, 0, 0, 0, 0))
	require.NoError(t, describe(0, 2, 't', 0, 0, 0, 0, 0, 0))
	require.ErrorContains(t, describe(0xfe, 0), "neither null nor a structure")
	require.ErrorContains(t, describe(1, 0, 0, 0, 0, 0, 0, 0), "null is not allowed")
}
