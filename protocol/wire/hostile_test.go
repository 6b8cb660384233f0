package wire

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// lie puts another length in the place of one.
func lie(body []byte, at lengthAt, flexible bool, n int64) []byte {
	out := append([]byte(nil), body[:at.pos]...)
	switch {
	case flexible:
		out = binary.AppendUvarint(out, uint64(n))
	case at.kind == ofText:
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	return append(out, body[at.pos+at.bytes:]...)
}

// lies are lengths that must be refused in the place of a length, with left bytes after it.
func lies(at lengthAt, flexible bool, left int64) []int64 {
	if at.kind == ofText && !flexible {
		all := []int64{left + 1, math.MaxInt16}
		if !at.nullable {
			all = append(all, -1, -2, math.MinInt16)
		}
		return all
	}
	if !flexible {
		all := []int64{left + 1, maxElements + 1, math.MaxInt32}
		if !at.nullable {
			all = append(all, -1, -2, math.MinInt32)
		}
		return all
	}
	all := []int64{left + 2, maxTags + 2, maxElements + 2, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64}
	if !at.nullable && at.kind != ofTags {
		all = append(all, 0)
	}
	return all
}

func TestLiesAboutLengthsAreRefusedAtOnce(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		for range 5 {
			w := writeLayout(rng, e, version)
			for _, at := range w.lengths {
				left := int64(len(w.buf) - at.pos - at.bytes)
				for _, n := range lies(at, w.flexible, left) {
					body := lie(w.buf, at, w.flexible, n)
					_, err := Check(e.Key, version, body)
					var malformed *MalformedError
					require.ErrorAs(t, err, &malformed, "length %d at %d of %x", n, at.pos, body)
					require.GreaterOrEqual(t, malformed.Offset, at.pos)
					require.LessOrEqual(t, malformed.Offset, at.pos+10)
				}
			}
		}
	})
}

// Bytes enough for what is claimed do not help above Kafka's limits.
func TestLimitsHoldInLargeFrames(t *testing.T) {
	frame := make([]byte, 4_100_000)
	binary.BigEndian.PutUint32(frame, maxElements)
	_, err := Check(15, 0, append(frame[:4:4], make([]byte, 2*maxElements)...)) // a million groups named ""
	require.NoError(t, err)
	binary.BigEndian.PutUint32(frame, maxElements+1)
	_, err = Check(15, 0, frame)
	require.ErrorContains(t, err, "1,000,000 elements")

	tags := func(n int) []byte {
		b := binary.AppendUvarint([]byte{1, 1}, uint64(n)) // ApiVersions v3 with an empty name and version
		for i := range n {
			b = append(binary.AppendUvarint(b, uint64(i)), 0)
		}
		return b
	}
	_, err = Check(18, 3, tags(maxTags))
	require.NoError(t, err)
	_, err = Check(18, 3, tags(maxTags+1))
	require.ErrorContains(t, err, "10,000 tags")

	long := func(n int) []byte {
		return append(append(binary.AppendUvarint(nil, uint64(n+1)), make([]byte, n)...), 1, 0)
	}
	_, err = Check(18, 3, long(math.MaxInt16))
	require.NoError(t, err)
	_, err = Check(18, 3, long(math.MaxInt16+1))
	require.ErrorContains(t, err, "32767 bytes")
}

func TestCheckAllocatesOnlyToRefuse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		body := writeLayout(rng, e, version).buf
		require.Zero(t, testing.AllocsPerRun(5, func() { _, _ = Check(e.Key, version, body) }))
		if len(body) > 0 {
			require.LessOrEqual(t, testing.AllocsPerRun(5, func() { _, _ = Check(e.Key, version, body[:len(body)-1]) }), 4.0)
		}
	})
}

// eachList gives the lists of a layout that a version has.
func eachList(fields []field, version int16, f func(*field)) {
	for i := range fields {
		if !fields[i].in(version) || fields[i].tagKey >= 0 {
			continue
		}
		if fields[i].kind == kindList {
			f(&fields[i])
		}
		eachList(fields[i].elems, version, f)
	}
}

// swollen makes the body of a 1 KiB frame that holds as many elements of one list as fit, with strange unknown tags in each
// structure.
func swollen(e *entry, version int16, list *field, strange int) []byte {
	write := func(n int) []byte {
		w := layoutWriter{version: version, flexible: e.flexible(version), wide: list, width: n, strange: strange}
		w.structure(e.fields)
		return w.buf
	}
	const frame = 1024 - 10 // without the smallest header
	one := len(write(2)) - len(write(1))
	n := (frame - len(write(0)) - 2) / one
	for len(write(n)) > frame {
		n--
	}
	return write(n)
}

// A frame of 1 KiB costs less than 1 MiB until it is dispatched, whatever it holds.
func TestSmallFramesDoNotSwell(t *testing.T) {
	const limit = 1 << 20
	worst := int64(0)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		eachList(e.fields, version, func(list *field) {
			for strange := range 3 {
				if strange > 0 && !e.flexible(version) {
					continue
				}
				body := swollen(e, version, list, strange)
				require.LessOrEqual(t, len(body), 1024)
				estimate, err := Check(e.Key, version, body)
				require.NoError(t, err)
				spent := decodeCost(t, Header{Key: e.Key, Version: version}, body)
				require.Less(t, spent, int64(limit))
				require.Less(t, estimate, int64(limit))
				if spent > worst {
					worst = spent
					t.Logf("%s, %d tags: %d bytes of heap, estimate %d", list.name, strange, spent, estimate)
				}
			}
		})
	})
}
