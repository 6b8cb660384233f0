package share

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// segmentBytes is a segment in memory, of which only ReadAt is used.
type segmentBytes struct {
	vfs.File
	all *bytes.Reader
}

func (s segmentBytes) ReadAt(p []byte, at int64) (int, error) { return s.all.ReadAt(p, at) }

// manyBatches is several batches that follow each other, with what they hold.
func manyBatches(rnd *rand.Rand, codec record.Codec, batches int) (slice replica.Slice, spans []window.Span, values map[int64]string) {
	var all []byte
	values = map[int64]string{}
	next := int64(rnd.IntN(1000))
	for range batches {
		var b record.Builder
		spec := record.Spec{BaseOffset: next, Codec: codec, LeaderEpoch: 3}
		if rnd.IntN(2) == 0 {
			spec.Producer = &record.Producer{ID: 7, Epoch: 1, Sequence: 100}
		}
		b.Reset(spec)
		n := 200 + rnd.IntN(400)
		for i := range n {
			noise := make([]byte, 100+rnd.IntN(100)) // that no codec makes small
			for j := range noise {
				noise[j] = byte(rnd.Uint32())
			}
			v := fmt.Sprintf("%d-%s", next+int64(i), noise)
			values[next+int64(i)] = v
			b.Append(1_700_000_000_000+int64(rnd.IntN(1000)), []byte("k"), []byte(v), record.Header{Name: "h", Value: []byte("x")})
		}
		built, err := b.Build()
		if err != nil {
			panic(err)
		}
		spans = append(spans, window.Span{First: next, Last: next + int64(n) - 1})
		next += int64(n)
		all = append(all, built...)
	}
	prefix := bytes.Repeat([]byte{0xee}, 100) // the slice begins somewhere in a file
	return replica.Slice{File: segmentBytes{all: bytes.NewReader(slices.Concat(prefix, all))}, Pos: 100, Len: len(all), End: next}, spans, values
}

func TestAnExcerptHoldsWhatWasAcquiredAndIsWellFormed(t *testing.T) {
	for seed := range uint64(60) {
		codec := []record.Codec{record.None, record.None, record.Gzip, record.LZ4, record.Zstd, record.Snappy}[seed%6]
		t.Run(fmt.Sprintf("seed=%d codec=%v", seed, codec), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			slice, spans, values := manyBatches(rnd, codec, 1+rnd.IntN(3))
			require.GreaterOrEqual(t, slice.Len, excerptFrom)
			p := &partition{}
			at := spans[0].First
			for range 20 { // one consumer after the other, and now and then one that goes back
				if rnd.IntN(5) == 0 {
					at = spans[0].First + rnd.Int64N(slice.End-spans[0].First)
				}
				first := at + int64(rnd.IntN(2))
				last := min(first+int64(rnd.IntN(20)), slice.End-1)
				if first > last {
					break
				}
				a := &acquired{slice: slice, batches: spans, granted: []window.Grant{{First: first, Last: last, Deliveries: 1}}}
				out, ok := p.excerpt([]byte("before"), a)
				require.True(t, ok)
				require.Equal(t, "before", string(out[:6]))
				require.Less(t, len(out), slice.Len/2+6)
				got := map[int64]string{}
				for b, err := range record.Batches(out[6:]) {
					require.NoError(t, err)
					require.NoError(t, b.CheckCRC())
					require.Contains(t, spans, window.Span{First: b.BaseOffset(), Last: b.LastOffset()}, "it covers the offsets that the whole batch does")
					require.EqualValues(t, 3, b.LeaderEpoch())
					n := int32(0)
					for rec, err := range b.All(1 << 20) {
						require.NoError(t, err)
						n++
						require.GreaterOrEqual(t, rec.Timestamp, int64(1_700_000_000_000))
						got[rec.Offset] = string(rec.Value)
					}
					require.Equal(t, b.NumRecords(), n)
				}
				want := map[int64]string{}
				for o := first; o <= last; o++ {
					want[o] = values[o]
				}
				require.Equal(t, want, got)
				at = last + 1
			}
		})
	}
}

func TestNoExcerptIsMadeWhereWholeBatchesAreAsGood(t *testing.T) {
	slice, spans, _ := manyBatches(rand.New(rand.NewPCG(1, 1)), record.None, 2)
	p := &partition{}
	most := window.Grant{First: spans[0].First, Last: spans[0].First + (slice.End-spans[0].First)/excerptFactor + 1}
	_, ok := p.excerpt(nil, &acquired{slice: slice, batches: spans, granted: []window.Grant{most}})
	require.False(t, ok, "much of the batches was acquired")
	small := slice
	small.Len = excerptFrom - 1
	_, ok = p.excerpt(nil, &acquired{slice: small, batches: spans, granted: []window.Grant{{First: spans[0].First, Last: spans[0].First}}})
	require.False(t, ok, "little is read")
	torn := slice
	torn.File = segmentBytes{all: bytes.NewReader(make([]byte, 200))}
	_, ok = p.excerpt(nil, &acquired{slice: torn, batches: spans, granted: []window.Grant{{First: spans[0].First, Last: spans[0].First}}})
	require.False(t, ok, "what cannot be read is left to whoever sends it")
}

func BenchmarkExcerptOf10From10000(b *testing.B) {
	var w record.Builder
	w.Reset(record.Spec{})
	for range 10_000 {
		w.Append(1_700_000_000_000, nil, make([]byte, 100))
	}
	built, err := w.Build()
	require.NoError(b, err)
	slice := replica.Slice{File: segmentBytes{all: bytes.NewReader(bytes.Clone(built))}, Len: len(built), End: 10_000}
	p := &partition{}
	at := int64(0)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var ok bool
		out, ok = p.excerpt(out[:0], &acquired{slice: slice, batches: []window.Span{{First: 0, Last: 9999}}, granted: []window.Grant{{First: at, Last: at + 9}}})
		if !ok {
			b.Fatal("no excerpt")
		}
		at = (at + 10) % 9990
	}
	b.SetBytes(int64(len(out)))
}
