package cleaner

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func BenchmarkClean(b *testing.B) {
	fs := vfs.Disk()
	for b.Loop() {
		b.StopTimer()
		w := &world{t: b, fs: fs, cfg: config(), last: map[string]string{}, at: map[string]int64{}}
		w.cfg.SegmentBytes = 64 << 20
		path := b.TempDir()
		l, _, err := log.Open(log.Options{FS: fs, Dir: path + "/t-0", Topic: "t", ID: uuid.ID{1}, Config: w.cfg, Files: segment.NewCache(fs, 8)}, log.Recovery{})
		require.NoError(b, err)
		w.l = l
		value := bytes.Repeat([]byte("v"), 100)
		r := rand.New(rand.NewSource(1))
		var build record.Builder
		for range 256 << 20 / (160 * 100) {
			build.Reset(record.Spec{})
			for range 160 {
				build.Append(t0.UnixMilli(), fmt.Appendf(nil, "key-%08d", r.Intn(500_000)), value)
			}
			batch, err := build.Build()
			require.NoError(b, err)
			_, err = l.Append(log.Append{Batches: batch, Now: t0})
			require.NoError(b, err)
		}
		w.commit()
		c := New(Options{})
		b.SetBytes(l.SizeBytes())
		b.StartTimer()
		w.clean(c, t0)
	}
}
