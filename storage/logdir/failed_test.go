package logdir

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestAFailedSyncOfALogsOwnEndsTheDirectory: those that no round of the flusher asked for and that may be the log's last.
func TestAFailedSyncOfALogsOwnEndsTheDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		rule vfs.Rule
		do   func(w *world, l *log.Log) error
	}{
		"retention": {vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "topic0-0/*.snapshot"}, func(_ *world, l *log.Log) error {
			cfg := l.Config()
			cfg.RetentionBytes = 0
			l.SetConfig(cfg)
			_, err := l.Retain(time.Now())
			return err
		}},
		"replacement": {vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "topic0-0/*.cleaned"}, func(w *world, l *log.Log) error {
			s, err := segment.Create(segment.NewCache(w.fs, 4), l.Dir(), 0, 0, segment.CleanedSuffix)
			require.NoError(t, err)
			require.NoError(t, s.Seal())
			return l.ReplaceSegments([]int64{0}, []*segment.Segment{s})
		}},
		"truncation": {vfs.Rule{Ops: []vfs.Op{vfs.OpSyncDir}, Path: "topic0-0"}, func(_ *world, l *log.Log) error { return l.TruncateFullyAndStartAt(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash(1)
				faults := vfs.NewFaults(disk)
				w := newWorld(t, faults, 1)
				require.NoError(t, w.begin())
				l := w.topics[0].l
				l.OnFlushed(func(int64) {})
				_, err := l.Append(log.Append{Batches: producersBatch(t)})
				require.NoError(t, err)
				require.NoError(t, later(2*time.Minute)(w)) // recorded; nothing is left to the flusher
				require.EqualValues(t, 1, l.RecoveryPoint())
				require.NoError(t, l.Roll(time.Now()))
				c.rule.Err = syscall.EIO
				rule := faults.Add(c.rule)
				require.ErrorIs(t, c.do(w, l), syscall.EIO)
				require.NotZero(t, rule.Hits())
				synctest.Wait()
				require.ErrorIs(t, w.d.Ready(), ErrFailed)
				require.ErrorIs(t, w.d.Ready(), syscall.EIO)
				_, err = disk.Stat("data/failed-sync")
				require.NoError(t, err)
			})
		})
	}
}

// TestAMendedLogForgetsWhatWasKeptForIt: a log that was offline and could be recovered later is one like any other. What it was promised
// to hold, and its saved journal entries, are not believed again after it was truncated.
func TestAMendedLogForgetsWhatWasKeptForIt(t *testing.T) {
	for name, c := range map[string]struct{ clean, late bool }{
		"clean stop":                     {clean: true},
		"clean stop, opened when in use": {clean: true, late: true},
		"crash":                          {},
		"crash, recovered by Activate":   {late: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash(1)
				w := newWorld(t, disk, 1)
				require.NoError(t, w.begin())
				require.NoError(t, w.topics[0].append(9000)) // synced by the log's own sync
				synctest.Wait()
				require.NoError(t, w.topics[0].append(100)) // in the journal
				synctest.Wait()
				w = reboot(w, disk, 0)
				disk = w.fs.(*vfs.Crash)
				faults := vfs.NewFaults(disk)
				faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "topic0-0/*.log", Corrupt: vfs.FlipBit(4000, 3)})
				o := w.opt
				o.FS = faults
				d, err := Open(o)
				require.NoError(t, err)
				_, err = d.OpenLog("topic0", w.topics[0].id, 0, w.cfg, true)
				var damage *log.Damage
				require.ErrorAs(t, err, &damage)
				require.NoError(t, d.Activate())
				synctest.Wait()
				require.NotEmpty(t, names(t, disk, "data/rescue"))
				if c.clean {
					require.NoError(t, d.Close())
				} else {
					disk.Cut()
					_ = d.Close()
					w = w.after(disk.PowerCut(2))
					disk = w.fs.(*vfs.Crash)
				}
				if c.late {
					o.FS = disk
					w.d, err = Open(o)
					require.NoError(t, err)
					defer func() { _ = w.d.Close() }()
					require.NoError(t, w.d.Activate())
					require.NoError(t, w.topics[0].open())
				} else {
					require.NoError(t, w.begin())
				}
				require.EqualValues(t, 2, w.topics[0].l.End())
				require.Empty(t, names(t, disk, "data/rescue"))
				require.NoError(t, w.topics[0].truncate(1))
				synctest.Wait()
				w = reboot(w, disk, 0)
				require.NoError(t, w.begin())
				require.EqualValues(t, 1, w.topics[0].l.End())
			})
		})
	}
}

func producersBatch(t *testing.T) []byte {
	var b record.Builder
	b.Reset(record.Spec{Producer: &record.Producer{ID: 7}})
	b.Append(time.Now().UnixMilli(), nil, []byte("v"))
	batch, err := b.Build()
	require.NoError(t, err)
	return batch
}
