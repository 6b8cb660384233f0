package java

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDumpLogReadsTheBrokersFiles writes through the broker, stops it cleanly, and lets
// Kafka's dumper check every kind of file it left.
func TestDumpLogReadsTheBrokersFiles(t *testing.T) {
	s := newSite(t, "log.cleaner.backoff.ms=100", "log.flush.offset.checkpoint.interval.ms=500")
	if s.Data == "" {
		t.Skip("needs a broker whose files the test may read")
	}
	s.Topic(t, "plain", 1, "segment.bytes=1048576", "index.interval.bytes=1000")
	s.Topic(t, "compacted", 1, "cleanup.policy=compact", "segment.bytes=1048576", "min.cleanable.dirty.ratio=0.01", "delete.retention.ms=0")
	plain := s.writePlain(t)
	last := s.writeKeyed(t)
	s.commit(t, "readers", "plain", 17)
	s.Stop(t)

	t.Run("plain", func(t *testing.T) { s.dumpPlain(t, s.dir(t, "plain"), plain) })
	t.Run("compacted", func(t *testing.T) { s.dumpCompacted(t, s.dir(t, "compacted"), last) })
	t.Run("committed offsets", s.dumpOffsets)
}

func (s site) dir(t *testing.T, topic string) string {
	dir, ok := s.PartitionDir(t, topic, 0)
	require.True(t, ok, "no directory of %s-0 below %s", topic, s.Data)
	return dir
}

func (s site) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// writePlain fills several segments with every codec, each by an idempotent producer of
// its own, and returns how many records that were.
func (s site) writePlain(t *testing.T) (n int) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		cl := s.client(t, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(20_000))
		x := uint32(1)
		for range 4_000 {
			value := make([]byte, 300)
			for i := range value { // one half is noise, the other repeats it
				x = x*1664525 + 1013904223
				if value[i] = byte(x >> 24); i >= len(value)/2 {
					value[i] = value[i-len(value)/2]
				}
			}
			cl.Produce(t.Context(), &kgo.Record{Topic: "plain", Value: value}, func(_ *kgo.Record, err error) { require.NoError(t, err) })
			n++
		}
		require.NoError(t, cl.Flush(t.Context()))
	}
	return n
}

const keys = 50

// writeKeyed writes a few keys over and over, waits until the cleaner has been there, and
// returns the last value of each.
func (s site) writeKeyed(t *testing.T) map[string]string {
	cl, last := s.client(t, kgo.ProducerBatchMaxBytes(20_000), kgo.ProducerBatchCompression(kgo.NoCompression())), map[string]string{}
	for i := range 20_000 {
		key := fmt.Sprintf("key-%d", i%keys)
		last[key] = fmt.Sprintf("%d %s", i, strings.Repeat("v", 150))
		cl.Produce(t.Context(), &kgo.Record{Topic: "compacted", Key: []byte(key), Value: []byte(last[key])}, func(_ *kgo.Record, err error) { require.NoError(t, err) })
	}
	require.NoError(t, cl.Flush(t.Context()))
	adm := kadm.NewClient(cl)
	require.Eventually(t, func() bool {
		dirs, err := adm.DescribeBrokerLogDirs(t.Context(), 1, nil)
		if err != nil {
			return false
		}
		size := int64(0)
		dirs.EachPartition(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == "compacted" {
				size = p.Size
			}
		})
		return size > 0 && size < 2<<20 // of some 3.5 MiB, all but the active segment is cleaned
	}, 2*time.Minute, 100*time.Millisecond, "the log is compacted")
	return last
}

func (s site) commit(t *testing.T, group, topic string, at int64) {
	adm := kadm.NewClient(s.client(t))
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, at, -1)
	require.NoError(t, adm.CommitAllOffsets(t.Context(), group, offsets))
}

// dump runs the dumper over all files of a directory with one of the endings.
func (s site) dump(t *testing.T, dir string, args []string, endings ...string) string {
	t.Helper()
	var files []string
	for _, e := range endings {
		found, err := filepath.Glob(filepath.Join(dir, "*"+e))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files, "%s has no %v", dir, endings)
	out, err := s.Try(t, "", "kafka-dump-log", append(args, "--files", strings.Join(files, ","))...)
	require.NoError(t, err)
	for _, bad := range []string{"Mismatch", "isvalid: false", "Could not dump", "Found "} {
		require.NotContains(t, out, bad, "%v of %s:\n%.3000s", endings, dir, out)
	}
	return out
}

var batchLine = regexp.MustCompile(`(?m)^baseOffset: (\d+) lastOffset: (\d+) count: (\d+) .*isvalid: true`)

// indexes lets the dumper compare the offset and time indexes with the log they are of.
func (s site) indexes(t *testing.T, dir string) {
	t.Helper()
	s.dump(t, dir, nil, ".index", ".timeindex")
	sane := s.dump(t, dir, []string{"--index-sanity-check"}, ".index", ".timeindex")
	require.Contains(t, sane, "passed sanity check")
	require.NotContains(t, sane, "Index file is corrupt")
}

func (s site) dumpPlain(t *testing.T, dir string, records int) {
	out := s.dump(t, dir, []string{"--deep-iteration"}, ".log")
	require.Greater(t, strings.Count(out, "Dumping "), 2, "several segments")
	next, count := 0, 0
	for _, m := range batchLine.FindAllStringSubmatch(out, -1) {
		base, last, n := number(t, m[1]), number(t, m[2]), number(t, m[3])
		require.Equal(t, next, base, "offsets are without a gap")
		require.Equal(t, last-base+1, n)
		next, count = last+1, count+n
	}
	require.Equal(t, records, count)
	require.Equal(t, records, strings.Count(out, "| offset: "), "each record is readable")
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		require.Contains(t, out, "compresscodec: "+codec)
	}
	s.indexes(t, dir)
	producers := s.dump(t, dir, nil, ".snapshot")
	require.Contains(t, producers, fmt.Sprintf(" lastOffset: %d ", records-1))
	epochs(t, dir, 0)
}

var keyedLine = regexp.MustCompile(`(?m)^\| offset: (\d+) .* key: (\S+) payload: (.*)$`)

func (s site) dumpCompacted(t *testing.T, dir string, last map[string]string) {
	out := s.dump(t, dir, []string{"--print-data-log"}, ".log")
	got, offset, records := map[string]string{}, -1, 0
	for _, m := range keyedLine.FindAllStringSubmatch(out, -1) {
		require.Greater(t, number(t, m[1]), offset, "offsets go up")
		offset, records = number(t, m[1]), records+1
		got[m[2]] = m[3]
	}
	require.Equal(t, last, got, "the last value of every key")
	require.Less(t, records, 15_000, "older values are gone")
	require.Equal(t, 19_999, offset, "offsets are what they were")
	s.indexes(t, dir)
	s.dump(t, dir, nil, ".snapshot")
	epochs(t, dir, 0)
}

// epochs reads the leader epoch checkpoint: version, number of entries, then epoch and
// start offset of each.
func epochs(t *testing.T, dir string, first int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "leader-epoch-checkpoint"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.GreaterOrEqual(t, len(lines), 3, string(text))
	require.Equal(t, "0", lines[0])
	require.Equal(t, number(t, lines[1]), len(lines)-2)
	fields := strings.Fields(lines[2])
	require.Len(t, fields, 2)
	require.Equal(t, first, number(t, fields[1]))
}

func (s site) dumpOffsets(t *testing.T) {
	for p := range 5 {
		dir, ok := s.PartitionDir(t, "__consumer_offsets", p)
		if !ok {
			continue
		}
		out := s.dump(t, dir, []string{"--offsets-decoder"}, ".log")
		if strings.Contains(out, `"group":"readers"`) {
			require.Contains(t, out, `"topic":"plain"`)
			require.Contains(t, out, `"offset":17`)
			return
		}
	}
	t.Fatal("no partition of __consumer_offsets has the group's commit")
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(t, err, text)
	return n
}
