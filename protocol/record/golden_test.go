package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The files in testdata/kafka-4.4 are what Apache Kafka 4.4.0 wrote: <codec>.batch is goldenRecords as a topic with that
// compression.type stored them, which is the Java compressors' work; cleaned-<codec>.batch is what its log cleaner made of
// produced-<codec>.batch.
func golden(t *testing.T, name string) Batch {
	p, err := os.ReadFile(filepath.Join("testdata", "kafka-4.4", name+".batch"))
	require.NoError(t, err)
	b, rest, err := First(p)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, b.CheckCRC())
	return b
}

// goldenRecords are 80 KB, several blocks in each codec.
func goldenRecords() []kmsg.Record {
	var recs []kmsg.Record
	for i := range 400 {
		value := strings.Repeat(fmt.Sprintf("value %d of many; ", i%7), 11)
		recs = append(recs, kv(i, fmt.Appendf(nil, "key-%d", i), []byte(value), kmsg.Header{Key: "h", Value: []byte{byte(i)}}, kmsg.Header{Key: "null"}))
	}
	return recs
}

// cleanedRecords lose "gone" and "k0" to later records, and gain a delete horizon for the tombstone of "dead".
func cleanedRecords() []kmsg.Record {
	return []kmsg.Record{
		kv(0, []byte("gone"), []byte("first")), kv(1, []byte("k1"), []byte("stays"), kmsg.Header{Key: "h", Value: []byte("v")}),
		kv(2, []byte("dead"), nil), kv(3, []byte("k0"), []byte("later")),
	}
}

func TestKafkaWroteIt(t *testing.T) {
	for codec := Gzip; codec < numCodecs; codec++ {
		b := golden(t, codec.String())
		require.Equal(t, codec, b.Codec())
		recs := goldenRecords()
		requireRecords(t, b.BaseOffset(), t0, recs, all(t, b))
		b.Stamp(0, 0)
		info, err := Validate(b, DefaultRules(t0+1000))
		require.NoError(t, err)
		require.False(t, info.Rebuilt)
		require.EqualValues(t, len(encodeRecords(recs)), info.Uncompressed)
	}
}

func TestFilterWritesWhatKafkasCleanerWrites(t *testing.T) {
	for _, codec := range []Codec{None, Gzip} {
		want, from := golden(t, "cleaned-"+codec.String()), golden(t, "produced-"+codec.String())
		requireRecords(t, from.BaseOffset(), from.BaseTimestamp(), cleanedRecords(), all(t, from))
		horizon, ok := want.DeleteHorizon()
		require.True(t, ok)
		var f Filter
		out, left, err := f.Rewrite(from, Retention{Horizon: horizon, Keep: func(r *Record) bool {
			return string(r.Key) != "gone" && string(r.Key) != "k0"
		}})
		require.NoError(t, err)
		require.Equal(t, 2, left)
		if codec == None {
			require.Equal(t, want, out)
			continue
		}
		require.Equal(t, want[attributesAt:HeaderSize], out[attributesAt:HeaderSize])
		require.Equal(t, all(t, want), all(t, out))
	}
}
