package wire

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumed runs the walk and gives how far it came.
func consumed(t *testing.T, e *entry, version int16, body []byte) (int, error) {
	t.Helper()
	p, err := lookupProgram(e.Key, version)
	require.NoError(t, err)
	w := walk{buf: body}
	err = w.run(p, e.Key, version)
	return w.off, err
}

func TestWhatKmsgWritesIsReadToTheEnd(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		for range 30 {
			req, body := randomRequest(rng, e, version)
			n, err := consumed(t, e, version, body)
			require.NoError(t, err, "%+v", req)
			require.Equal(t, len(body), n, "%+v", req)
		}
	})
}

// The layouts and kmsg's reading agree on every byte: what a layout writes, kmsg reads, and writes again as it was.
func TestWhatALayoutWritesKmsgReadsAlike(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		for range 30 {
			body := writeLayout(rng, e, version).buf
			n, err := consumed(t, e, version, body)
			require.NoError(t, err, "%x", body)
			require.Equal(t, len(body), n)
			req, _, err := Decode(Header{Key: e.Key, Version: version}, body)
			require.NoError(t, err, "%x", body)
			require.Equal(t, body, req.AppendTo(nil))
		}
	})
}

// No field of a request is optional on the wire, so no proper prefix is a request.
func TestEveryPrefixIsRefused(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		for range 5 {
			_, body := randomRequest(rng, e, version)
			for n := range body {
				_, err := Check(e.Key, version, body[:n])
				var malformed *MalformedError
				require.ErrorAs(t, err, &malformed, "%d of %x", n, body)
				require.LessOrEqual(t, malformed.Offset, n)
			}
		}
	})
}

func TestBytesAfterTheRequestPass(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		_, body := randomRequest(rng, e, version)
		n, err := consumed(t, e, version, append(body, make([]byte, 100)...))
		require.NoError(t, err)
		require.Equal(t, len(body), n)
	})
}

// The cost of a walk is linear because each step takes a byte at least, and lists are bounded by the bytes of their elements.
func TestEveryStepTakesAByte(t *testing.T) {
	var steps func(t *testing.T, b *block, depth int)
	steps = func(t *testing.T, b *block, depth int) {
		require.Less(t, depth, 8)
		sum := 0
		for _, o := range b.ops {
			require.Positive(t, o.min)
			sum += o.min
			if o.inner != nil {
				require.Positive(t, o.inner.min)
				steps(t, o.inner, depth+1)
			}
			for _, tag := range o.tags {
				if tag.content != nil {
					steps(t, tag.content, depth+1)
				}
			}
		}
		require.Equal(t, b.min, sum)
	}
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		steps(t, e.programs()[version-e.first].body, 0)
	})
}

func TestUnknownKeysAndVersions(t *testing.T) {
	for _, key := range []int16{-1, 4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 95, 500, math.MaxInt16, math.MinInt16} {
		_, err := Check(key, 0, nil)
		require.ErrorIs(t, err, ErrUnknownKey)
		_, _, err = Decode(Header{Key: key}, nil)
		require.ErrorIs(t, err, ErrUnknownKey)
		_, ok := Lookup(key)
		require.False(t, ok)
	}
	for _, api := range All() {
		for _, v := range []int16{api.Min - 1, api.Max + 1, -1, math.MaxInt16, math.MinInt16} {
			_, err := Check(api.Key, v, nil)
			require.ErrorIs(t, err, ErrUnknownVersion)
			_, _, err = Decode(Header{Key: api.Key, Version: v}, nil)
			require.ErrorIs(t, err, ErrUnknownVersion)
		}
	}
}

// Kafka advertises Produce from 0 on and closes the connection on 0 to 2.
func TestProduceIsAdvertisedBelowWhatIsServed(t *testing.T) {
	api, ok := Lookup(0)
	require.True(t, ok)
	require.Equal(t, API{0, "Produce", 0, 13, 9}, api)
	for v := range int16(3) {
		_, _, err := ParseHeader([]byte{0, 0, 0, byte(v), 0, 0, 0, 7, 0xff, 0xff})
		require.NoError(t, err)
		_, err = Check(0, v, make([]byte, 64))
		require.ErrorIs(t, err, ErrUnknownVersion)
	}
}

// kmsg knows every version of the table, and which are flexible.
func TestTableAgreesWithKmsg(t *testing.T) {
	all := All()
	require.Len(t, all, 79)
	last := int16(-1)
	for _, api := range all {
		require.Greater(t, api.Key, last)
		last = api.Key
		req := kmsg.RequestForKey(api.Key)
		require.Equal(t, req.MaxVersion(), api.Max, api.Name)
		require.LessOrEqual(t, api.Min, api.Max)
		for v := api.Min; v <= api.Max; v++ {
			req.SetVersion(v)
			require.Equal(t, req.IsFlexible(), api.flexible(v), "%s v%d", api.Name, v)
		}
		got, ok := Lookup(api.Key)
		require.True(t, ok)
		require.Equal(t, api, got)
	}
}
