package log

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Appends, reads, syncs, lookups, retention and a change of settings at once: what is read is what was appended, in order, and
// the sink is told every offset once.
func TestEverythingAtOnce(t *testing.T) {
	cfg := testConfig()
	w := newWorld(t, vfs.NewCrash(1), cfg)
	sink := &orderedSink{}
	w.l.SetSink(sink)
	const writers, each = 4, 300
	var writing, others sync.WaitGroup
	var done atomic.Bool
	for id := range int64(writers) {
		writing.Go(func() {
			for i := range int32(each) {
				if _, err := w.l.Append(Append{Batches: idempotent(1+int(i)%3, id, 0, seqOf(i)), Now: t0}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop := func(f func() error) {
		others.Go(func() {
			for !done.Load() {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error {
		end := w.l.End()
		if err := w.l.Sync(end); err != nil {
			return err
		}
		w.l.Flushed(end)
		return nil
	})
	loop(func() error { _, err := w.l.OffsetForTime(t0.UnixMilli()); return err })
	loop(func() error {
		c := cfg
		c.RetentionBytes = 32 << 10
		w.l.SetConfig(c)
		_, err := w.l.Retain(t0)
		return err
	})
	others.Go(func() { w.follow(&done) })
	writing.Wait()
	done.Store(true)
	others.Wait()
	require.Equal(t, w.l.End(), sink.end)
	require.NoError(t, w.l.Sync(w.l.End()))
	w.promised, w.recoveryPoint = w.l.End(), w.l.End()
	want := w.readAll()
	w.crash(w.fs.(*vfs.Crash).PowerCutAll())
	require.Nil(t, w.last.Damage)
	require.Equal(t, want, w.readAll())
	require.Len(t, w.l.Producers(), writers)
}

// seqOf is the sequence of the i-th batch, of which batches have one, two and three records in turn.
func seqOf(i int32) int32 { return i/3*6 + []int32{0, 1, 3}[i%3] }

// follow reads behind the writers, as a consumer does, until they are done and it has read all.
func (w *world) follow(done *atomic.Bool) {
	next := int64(0)
	for stop := false; !stop; {
		stop = done.Load()
		end := w.l.End()
		for next < end {
			slice, err := w.l.Read(next, end, 3000, true)
			if err != nil { // retention went past
				next = w.l.Start()
				continue
			}
			data, err := slice.Bytes(nil)
			slice.Release()
			if err != nil || len(data) == 0 {
				w.t.Errorf("read at %d of %d: %d bytes, %v", next, end, len(data), err)
				return
			}
			for b, err := range record.Batches(data) {
				if err != nil || b.CheckCRC() != nil || b.LastOffset() < next {
					w.t.Errorf("batch at %d: %v", next, err)
					return
				}
				next = b.NextOffset()
			}
		}
	}
}

type orderedSink struct{ end int64 }

func (s *orderedSink) Appended(base, end int64, _ int32, batches []byte) {
	if base != s.end || end <= base || len(batches) == 0 {
		panic("out of order")
	}
	s.end = end
}
