package logdir

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func openBench(tb testing.TB, dir string, logs int) (*Dir, []*log.Log) {
	return openMeasured(tb, dir, logs, nil)
}

func openMeasured(tb testing.TB, dir string, logs int, metrics prometheus.Registerer) (*Dir, []*log.Log) {
	d, err := Open(Options{FS: vfs.Disk(), Dir: dir, BrokerID: 1, NoCleaner: true, Reserve: -1, Metrics: metrics})
	require.NoError(tb, err)
	all := make([]*log.Log, logs)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range all {
		g.Go(func() (err error) {
			var id uuid.ID
			binary.BigEndian.PutUint64(id[:], uint64(i+1))
			all[i], err = d.OpenLog(fmt.Sprintf("topic-%05d", i), id, 0, log.DefaultConfig(), true)
			return err
		})
	}
	require.NoError(tb, g.Wait())
	require.NoError(tb, d.Activate())
	return d, all
}

func benchBatch(tb testing.TB, bytes int) []byte {
	var b record.Builder
	b.Reset(record.Spec{})
	b.Append(time.Now().UnixMilli(), nil, make([]byte, bytes))
	batch, err := b.Build()
	require.NoError(tb, err)
	return batch
}

// fill appends one record to every log and waits until all are durable.
func fill(tb testing.TB, logs []*log.Log, bytes int) {
	for _, l := range logs {
		_, err := l.Append(log.Append{Batches: benchBatch(tb, bytes), Origin: log.Coordinator})
		require.NoError(tb, err)
	}
	for _, l := range logs {
		for l.FlushedEnd() < l.End() {
			time.Sleep(time.Millisecond)
		}
	}
}

// BenchmarkStart is Open, OpenLog of all and Activate of a directory with 10,000 partitions that hold a record each, after a clean
// stop and after a kill.
func BenchmarkStart(b *testing.B) {
	const logs = 10_000
	dir := b.TempDir()
	d, all := openBench(b, dir, logs)
	fill(b, all, 1000)
	began := time.Now()
	require.NoError(b, d.Close())
	b.Logf("closing took %v", time.Since(began))
	for _, stop := range []string{"clean", "kill"} {
		b.Run(stop, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if stop == "kill" {
					_ = vfs.Disk().Remove(dir + "/" + cleanFile)
				}
				b.StartTimer()
				d, _ := openBench(b, dir, logs)
				b.StopTimer()
				require.NoError(b, d.Close())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkCheckpointStorm is the latency of a lone synchronous producer: alone, and while 10,000 other logs are dirty and
// checkpoints catch up.
func BenchmarkCheckpointStorm(b *testing.B) {
	const logs = 10_000
	for _, dirty := range []int{0, logs} {
		b.Run(fmt.Sprintf("dirty=%d", dirty), func(b *testing.B) {
			metrics := prometheus.NewRegistry()
			d, all := openMeasured(b, b.TempDir(), dirty+1, metrics)
			defer func() { require.NoError(b, d.Close()) }()
			fill(b, all, 1000)
			l, told := all[0], make(chan int64, 16)
			l.OnFlushed(func(end int64) { told <- end })
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				began := time.Now()
				a, err := l.Append(log.Append{Batches: benchBatch(b, 1000), Origin: log.Coordinator})
				require.NoError(b, err)
				for <-told <= a.Last {
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(counted(b, metrics, "tidemark_journal_checkpoint_syncs_total"), "checkpoints")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(took[len(took)*999/1000].Microseconds()), "p999-us")
		})
	}
}

func counted(b *testing.B, from *prometheus.Registry, name string) float64 {
	families, err := from.Gather()
	require.NoError(b, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}
