package wire

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func frame(key, version int16, client []byte, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 7)
	return append(append(b, client...), rest...)
}

func TestHeaderVersionFollowsTheRequests(t *testing.T) {
	for _, api := range All() {
		for v := api.Min; v <= api.Max; v++ {
			req := kmsg.RequestForKey(api.Key)
			req.SetVersion(v)
			b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, req, 42)[4:]
			h, body, err := ParseHeader(b)
			require.NoError(t, err)
			require.Equal(t, Header{api.Key, v, 42, "me", true}, h)
			require.Equal(t, req.AppendTo(nil), append([]byte(nil), body...))
		}
	}
}

func TestClientIDs(t *testing.T) {
	for _, c := range []struct {
		client []byte
		id     string
		has    bool
	}{
		{text("x"), "x", true},
		{text(""), "", true},
		{[]byte{0xff, 0xff}, "", false},
		{[]byte{0xff, 0xfe}, "", false}, // any negative length is null
		{[]byte{0x80, 0x00}, "", false},
		{text("a\xffb"), "a\uFFFDb", true},
	} {
		h, body, err := ParseHeader(frame(3, 1, c.client, 1, 2))
		require.NoError(t, err)
		require.Equal(t, Header{3, 1, 7, c.id, c.has}, h)
		require.Equal(t, []byte{1, 2}, body)
	}
}

func TestHeaderTags(t *testing.T) {
	h, body, err := ParseHeader(frame(3, 12, text("x"), 1, 9, 2, 'a', 'b', 5, 5))
	require.NoError(t, err)
	require.EqualValues(t, 12, h.Version)
	require.Equal(t, []byte{5, 5}, body)
	for _, tags := range [][]byte{huge, {1}, {1, 9}, {1, 9, 3, 'a', 'b'}, {2, 9, 0}, {0xff, 0xff, 0xff, 0xff, 0x7f}, {}} {
		_, _, err := ParseHeader(frame(3, 12, text("x"), tags...))
		var malformed *MalformedError
		require.ErrorAs(t, err, &malformed, "%x", tags)
		require.EqualValues(t, 3, malformed.Key)
	}
}

func TestHeadersCutShort(t *testing.T) {
	for _, whole := range [][]byte{frame(3, 1, text("client")), frame(3, 9, text("client"), 1, 9, 2, 'a', 'b')} {
		for n := range whole {
			_, _, err := ParseHeader(whole[:n])
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed, "%d bytes", n)
			require.LessOrEqual(t, malformed.Offset, n)
		}
	}
	_, _, err := ParseHeader(frame(18, 0, []byte{0x7f, 0xff, 'x'}))
	require.ErrorContains(t, err, "client id: longer than")
}

// Kafka answers ApiVersions in versions it does not know, as long as the header is whole; everything else it closes on.
func TestHeadersOfUnknownVersions(t *testing.T) {
	for _, v := range []int16{99, 32767} {
		h, _, err := ParseHeader(frame(18, v, text("x"), 0, 2, 'a'))
		require.NoError(t, err)
		require.Equal(t, v, h.Version)
		_, _, err = ParseHeader(frame(18, v, text("x")))
		var malformed *MalformedError
		require.ErrorAs(t, err, &malformed, "the tags of header v2 are missing")
	}
	_, _, err := ParseHeader(frame(18, -1, text("x")))
	require.NoError(t, err)

	h, _, err := ParseHeader(frame(3, 14, text("x"), 0))
	require.ErrorIs(t, err, ErrUnknownVersion)
	require.ErrorContains(t, err, "Metadata version 14, served are 0 to 13")
	require.EqualValues(t, 14, h.Version)
	_, _, err = ParseHeader(frame(1, 3, text("x")))
	require.ErrorIs(t, err, ErrUnknownVersion)
	for _, key := range []int16{-1, 4, 52, 95, 32767} {
		_, _, err = ParseHeader(frame(key, 0, text("x")))
		require.ErrorIs(t, err, ErrUnknownKey)
	}
}

func TestResponseHeaders(t *testing.T) {
	require.Equal(t, []byte{9, 0, 0, 0, 7}, AppendResponseHeader([]byte{9}, 3, 8, 7))
	require.Equal(t, []byte{0, 0, 0, 7, 0}, AppendResponseHeader(nil, 3, 9, 7))
	require.Equal(t, []byte{0, 0, 0, 7}, AppendResponseHeader(nil, 17, 1, 7))
	for v := range int16(6) {
		require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, AppendResponseHeader(nil, 18, v, -1), "ApiVersions never has tags here")
	}
}

func TestResponsesAreFramed(t *testing.T) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version, resp.ErrorCode = 4, 25
	b, err := AppendResponse([]byte("before"), 7, resp)
	require.NoError(t, err)
	require.Equal(t, append([]byte("before"), 0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 25, 0), b)

	b, err = AppendFrame(b[:0], 12, 4, 7, 1000)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 3, 0xed, 0, 0, 0, 7, 0}, b)

	b, err = AppendFrame([]byte("x"), 1, 4, 7, 1<<31-4)
	require.ErrorIs(t, err, ErrResponseTooLarge)
	require.Equal(t, []byte("x"), b)

	buf := make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = AppendResponse(buf, 7, resp) }))
}
