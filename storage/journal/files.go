package journal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	fileSuffix   = ".journal"
	minFiles     = 3 // one written, one whose rounds are being checkpointed, one free
	minFileBytes = 64 << 10
	firstBytes   = 1 << 20 // of the file a new life begins in: quick to make; the next ones are made behind the scenes
	zeroBytes    = 1 << 20 // zeros are written and synced in pieces of this, so that rounds come between
)

// file is one journal file. All but the current one are closed.
type file struct {
	slot int
	h    vfs.File // of the current one
	salt uint64
	size int64  // up to here its blocks exist
	last uint64 // its last round
}

// files are the journal's files: the current one, those with rounds that may be needed (oldest first), and those free for
// the next. The round loop owns cur, pos and h; the lists are guarded by Flusher.mu.
type files struct {
	fs       vfs.FS
	dir      string
	capacity int64 // of one file
	limit    int   // number of files
	last     atomic.Uint64

	cur *file
	pos int64 // where the next frame goes

	full      []*file
	free      []*file
	making    bool      // a spare file is being made
	notBefore time.Time // when a spare file may be tried again after one could not be made
	slots     int       // next unused slot number
	proven    uint64    // the newest "oldest" that is durable
	written   int64     // pos, as of the last durable frame
}

// openFiles makes the file this life begins in. All others in the directory become free once a frame in it is durable.
func openFiles(o Options, next uint64) (*files, error) {
	fl := &files{fs: o.FS, dir: o.Dir, capacity: o.FileBytes, limit: int(o.MaxBytes / o.FileBytes)}
	fl.last.Store(next - 1)
	if err := vfs.MkdirAllSync(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("journal: make %s: %w", o.Dir, err)
	}
	old, err := listSlots(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	for _, slot := range old {
		info, err := o.FS.Stat(fl.path(slot))
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		fl.full = append(fl.full, &file{slot: slot, size: info.Size(), last: next - 1})
		fl.slots = slot + 1
	}
	slot := fl.slots
	fl.slots++
	if fl.cur, err = fl.make(slot, min(firstBytes, fl.capacity)); err != nil {
		return nil, err
	}
	fl.pos = blockBytes
	// An earlier life may have made the directory and been killed before its name was synced.
	return fl, vfs.SyncDir(o.FS, o.FS.PathDir(o.Dir))
}

func (fl *files) path(slot int) string {
	return fl.fs.PathJoin(fl.dir, fmt.Sprintf("%04d%s", slot, fileSuffix))
}

// listSlots answers the numbers of the files in dir, rising. Other names are none of ours and left alone.
func listSlots(fs vfs.FS, dir string) ([]int, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: list %s: %w", dir, err)
	}
	var slots []int
	for _, name := range names {
		digits, ours := strings.CutSuffix(name, fileSuffix)
		if slot, err := strconv.Atoi(digits); ours && err == nil && slot >= 0 {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slots, nil
}

// next is the number the next round gets, or the one after it when a seal comes between.
func (fl *files) next() uint64 { return fl.last.Load() + 1 }

// make creates a file with a header and size bytes of existing blocks, all of it durable, and leaves it open.
func (fl *files) make(slot int, size int64) (*file, error) {
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	f := &file{slot: slot, salt: binary.BigEndian.Uint64(salt[:]), size: size}
	path := fl.path(slot)
	h, err := fl.fs.Create(path, vfs.Unspecified)
	if err != nil {
		return nil, fmt.Errorf("journal: make %s: %w", path, err)
	}
	if err := fl.fill(h, f.salt, size); err != nil {
		_ = h.Close()
		return nil, fmt.Errorf("journal: fill %s: %w", path, err)
	}
	f.h = h
	return f, nil
}

// fill writes header and zeros, so that a round later changes neither the file's size nor its blocks.
func (fl *files) fill(h vfs.File, salt uint64, size int64) error {
	if err := h.Preallocate(0, size); err != nil {
		return err
	}
	if _, err := h.WriteAt(fileHeader(salt), 0); err != nil {
		return err
	}
	zeros := make([]byte, min(zeroBytes, size-blockBytes))
	for pos := int64(blockBytes); pos < size; pos += int64(len(zeros)) {
		if _, err := h.WriteAt(zeros[:min(int64(len(zeros)), size-pos)], pos); err != nil {
			return err
		}
		if err := h.SyncData(); err != nil {
			return err
		}
	}
	if err := h.Sync(); err != nil {
		return err
	}
	return vfs.SyncDir(fl.fs, fl.dir)
}

// reuse opens a free file for writing from its beginning. False: it is not one of ours after all.
func (fl *files) reuse(f *file) (bool, error) {
	path := fl.path(f.slot)
	h, err := fl.fs.OpenReadWrite(path, vfs.Unspecified)
	if err != nil {
		return false, fmt.Errorf("journal: open %s: %w", path, err)
	}
	head := make([]byte, blockBytes)
	if _, err := h.ReadAt(head, 0); err != nil && err != io.EOF {
		_ = h.Close()
		return false, fmt.Errorf("journal: read %s: %w", path, err)
	}
	salt, ok, err := parseFileHeader(head)
	if err != nil || !ok {
		_ = h.Close()
		return false, err
	}
	f.h, f.salt = h, salt
	return true, nil
}

// put writes one sealed frame at pos and syncs it.
func (fl *files) put(frame []byte, oldest uint64, entries uint32) (buf []byte, err error) {
	seq := fl.next()
	sealFrame(frame, frameHeader{salt: fl.cur.salt, seq: seq, oldest: oldest, entries: entries})
	n := blocks(int64(len(frame)))
	padded := slices.Grow(frame, int(n)-len(frame))[:n]
	clear(padded[len(frame):])
	if _, err := fl.cur.h.WriteAt(padded, fl.pos); err != nil {
		return padded, fmt.Errorf("journal: write %s at %d: %w", fl.path(fl.cur.slot), fl.pos, err)
	}
	if err := fl.cur.h.SyncData(); err != nil {
		return padded, fmt.Errorf("journal: sync %s: %w", fl.path(fl.cur.slot), err)
	}
	fl.last.Store(seq)
	fl.pos += n
	fl.cur.size = max(fl.cur.size, fl.pos)
	fl.cur.last = seq
	return padded, nil
}

func (fl *files) close() error {
	if fl.cur == nil || fl.cur.h == nil {
		return nil
	}
	return fl.cur.h.Close()
}
