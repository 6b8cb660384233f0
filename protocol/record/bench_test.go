package record

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// benchRecords fill about size bytes with records of each bytes, half of them random.
func benchRecords(size, each int) []kmsg.Record {
	rnd := rand.New(rand.NewPCG(1, 2))
	var recs []kmsg.Record
	for i := range size / (each + 10) {
		v := make([]byte, each)
		for j := range v {
			if v[j] = byte(j); j%2 == 0 {
				v[j] = byte('a' + rnd.IntN(26))
			}
		}
		recs = append(recs, kv(i, nil, v))
	}
	return recs
}

func BenchmarkValidate(b *testing.B) {
	for _, size := range []int{16 << 10, 1 << 20} {
		for codec := None; codec < numCodecs; codec++ {
			b.Run(fmt.Sprintf("%v/%dKiB", codec, size>>10), func(b *testing.B) {
				recs := benchRecords(size, 100)
				batch := sent{recs: recs, codec: codec}.encode(b)
				r := DefaultRules(t0)
				b.SetBytes(int64(len(encodeRecords(recs))))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Validate(batch, r); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(recs)), "ns/record")
			})
		}
	}
}

func BenchmarkValidateOneSmallRecord(b *testing.B) {
	batch := sent{recs: values("a")}.encode(b)
	r := DefaultRules(t0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Validate(batch, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for codec := None; codec < numCodecs; codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			recs := benchRecords(16<<10, 100)
			batch := sent{recs: recs, codec: codec}.encode(b)
			b.SetBytes(int64(len(encodeRecords(recs))))
			b.ReportAllocs()
			for b.Loop() {
				r, err := batch.Records(0)
				if err != nil {
					b.Fatal(err)
				}
				for ok := true; ok; {
					if _, ok, err = r.Next(); err != nil {
						b.Fatal(err)
					}
				}
				r.Close()
			}
		})
	}
}

func BenchmarkBuilder(b *testing.B) {
	for codec := None; codec < numCodecs; codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			recs := benchRecords(16<<10, 100)
			b.SetBytes(int64(len(encodeRecords(recs))))
			b.ReportAllocs()
			var w Builder
			for b.Loop() {
				w.Reset(Spec{Codec: codec})
				for i := range recs {
					w.Append(t0+int64(i), recs[i].Key, recs[i].Value)
				}
				if _, err := w.Build(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFilter(b *testing.B) {
	for _, codec := range []Codec{None, LZ4, Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			recs := benchRecords(64<<10, 100)
			batch := sent{recs: recs, codec: codec}.encode(b)
			var f Filter
			r := Retention{Keep: func(r *Record) bool { return r.Offset&1 == 0 }}
			b.SetBytes(int64(len(encodeRecords(recs))))
			b.ReportAllocs()
			for b.Loop() {
				_, left, err := f.Rewrite(batch, r)
				require.NoError(b, err)
				require.Positive(b, left)
			}
		})
	}
}
