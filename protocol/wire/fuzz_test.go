package wire

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCheck: whatever the walk lets through decodes, within the estimate.
func FuzzCheck(f *testing.F) {
	for _, e := range table {
		if e != nil {
			w := layoutWriter{version: e.Max, flexible: e.flexible(e.Max), strange: 1}
			w.structure(e.fields)
			f.Add(e.Key, e.Max, w.buf)
		}
	}
	f.Add(int16(18), int16(3), append([]byte{1}, huge...))
	f.Add(int16(3), int16(9), append([]byte{1, 0, 0, 0}, huge...))
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		estimate, err := Check(key, version, body)
		if err != nil {
			refused(t, err, len(body))
			_, _, again := Decode(Header{Key: key, Version: version}, body)
			require.Equal(t, err, again)
			return
		}
		h, limit := Header{Key: key, Version: version}, affordable(estimate)
		cost := decodeCost(t, h, body)
		for i := 0; i < 5 && cost > limit; i++ {
			cost = min(cost, decodeCost(t, h, body)) // the fuzzing engine allocates beside it
		}
		require.LessOrEqual(t, cost, limit)
	})
}

// FuzzParseHeader: a header is read within its frame, or refused.
func FuzzParseHeader(f *testing.F) {
	f.Add(frame(3, 1, text("client")))
	f.Add(frame(3, 12, text("client"), 1, 9, 2, 'a', 'b'))
	f.Add(frame(18, 99, nullText, huge...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := ParseHeader(b)
		if err != nil {
			refused(t, err, len(b))
			require.Nil(t, body)
			return
		}
		_, known := Lookup(h.Key)
		require.True(t, known)
		require.LessOrEqual(t, len(h.ClientID), 3*len(b))
		require.Equal(t, b[len(b)-len(body):], body)
		require.LessOrEqual(t, len(body), len(b)-10)
	})
}

func refused(t *testing.T, err error, size int) {
	var malformed *MalformedError
	if errors.As(err, &malformed) {
		require.LessOrEqual(t, malformed.Offset, size)
		require.GreaterOrEqual(t, malformed.Offset, 0)
		return
	}
	require.True(t, errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrUnknownVersion), "%v", err)
}
