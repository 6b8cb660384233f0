package logdir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// A log that is offline cannot take its journal entries in, and the journal cannot keep them for ever. They are saved in a file
// of their own, rescue/<topic id>-<partition>, next to the fact of what was promised, and count again at the next start: once the
// reason is gone (a disk that reads again, a file restored), nothing acknowledged is missing.

func (d *Dir) rescuePath(key journal.Key) string {
	return d.fs.PathJoin(d.o.Dir, rescueDir, key.String())
}

// listRescued finds out which logs have saved entries.
func (d *Dir) listRescued() (map[journal.Key]bool, error) {
	names, err := d.fs.List(d.path(rescueDir))
	if err != nil {
		return nil, fmt.Errorf("logdir: list %s: %w", d.path(rescueDir), err)
	}
	saved := map[journal.Key]bool{}
	for _, name := range names {
		dash := strings.LastIndexByte(name, '-')
		if dash < 0 {
			continue
		}
		id, err := uuid.Parse(name[:dash])
		n, err2 := strconv.ParseInt(name[dash+1:], 10, 32)
		if err == nil && err2 == nil {
			saved[journal.Key{Topic: id, Partition: int32(n)}] = true
		}
	}
	return saved, nil
}

// rescued calls add with the entries an earlier life saved for a log. They come before what the journal holds now.
func (d *Dir) rescued(key journal.Key, add func(journal.Entry) error) error {
	if !d.saved[key] {
		return nil
	}
	return journal.ReadSaved(d.fs, d.rescuePath(key), add)
}

// preserve makes durable what is known of a log that cannot be recovered now: that it exists, how far it was acknowledged, and
// its journal entries.
func (d *Dir) preserve(key journal.Key, topic string, promised int64) error {
	var entries []journal.Entry
	add := func(e journal.Entry) error {
		entries = append(entries, e)
		return nil
	}
	if err := d.rescued(key, add); err != nil {
		return err
	}
	before := len(entries)
	if err := d.replayed.Entries(key, add); err != nil {
		return err
	}
	if len(entries) > before {
		if err := journal.Save(d.fs, d.rescuePath(key), entries); err != nil {
			return fmt.Errorf("logdir: %w", err)
		}
	}
	if h := d.replayed.Logs[key]; h != nil {
		promised = max(promised, h.Promised)
	}
	b := d.kv.NewBatch()
	b.Set(factSpace, factKey(key, factTopic), []byte(topic))
	setNumber(b, key, factPromised, promised)
	b.Delete(factSpace, factKey(key, factState))
	return b.Commit(true)
}

// dropRescued removes, durably, saved entries that are not needed any more: the log has taken them in, or is deleted.
func (d *Dir) dropRescued(key journal.Key) error {
	if !d.saved[key] {
		return nil
	}
	err := d.fs.Remove(d.rescuePath(key))
	if err == nil { // else a crash would bring them back, and with them what is truncated since
		err = vfs.SyncDir(d.fs, d.path(rescueDir))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("logdir: %w", err)
	}
	return nil
}
