package journal

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// DamageError says that rounds are missing which were durable once: bytes of the journal have changed since, or a file of it
// is gone. A torn tail is no damage.
type DamageError struct {
	File     string // where the first missing round is, or was expected
	Position int64
	Seq      uint64 // the first missing round
	Newest   uint64 // the newest one there is
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("journal: %s is damaged at byte %d: round %d is missing or unreadable, but the journal goes on to round %d, "+
		"so it was on disk before", e.File, e.Position, e.Seq, e.Newest)
}

// Replayed is what a journal holds. It reads the files again for Entries, so they must not be written to before.
type Replayed struct {
	Logs    map[Key]*History
	LastSeq uint64 // for Options.After
	Rounds  int    // that are needed still
	Bytes   int64  // of entries in them
	fs      vfs.FS
	paths   []string
}

// History is what the journal says about one log.
type History struct {
	Promised int64 // up to here the log was, or may have been, told as flushed since its last void; 0 without any
	Voided   bool  // there was a void
	refs     []ref
}

// ref is where an entry is.
type ref struct {
	file uint32
	size uint32
	pos  int64
}

// frameAt is a valid frame and where it is.
type frameAt struct {
	frameHeader
	file int
	pos  int64
}

// maxEntryBytes bounds what one entry read back may ask for; a round is never larger than half a file.
const maxEntryBytes = 1 << 30

// Replay reads the journal in dir. A directory that does not exist is an empty journal. With a *DamageError the answer holds
// what is readable all the same. Memory is bounded by the journal's size: entries stay in the files.
func Replay(fsys vfs.FS, dir string) (*Replayed, error) {
	r := &Replayed{Logs: map[Key]*History{}, fs: fsys}
	slots, err := listSlots(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	naming := files{fs: fsys, dir: dir}
	var frames []frameAt
	for i, slot := range slots {
		r.paths = append(r.paths, naming.path(slot))
		if frames, err = scanFile(fsys, r.paths[i], i, frames); err != nil {
			return nil, err
		}
	}
	live, damage := r.live(frames)
	if err := r.index(live); err != nil {
		return nil, err
	}
	if damage != nil {
		return r, damage
	}
	return r, nil
}

// live picks the rounds that are needed, in order, and tells whether one is missing.
func (r *Replayed) live(frames []frameAt) ([]frameAt, error) {
	if len(frames) == 0 {
		return nil, nil
	}
	slices.SortFunc(frames, func(a, b frameAt) int {
		if a.seq != b.seq {
			return cmp.Compare(a.seq, b.seq)
		}
		return a.file - b.file
	})
	newest := frames[len(frames)-1]
	r.LastSeq = newest.seq
	first, _ := slices.BinarySearchFunc(frames, newest.oldest, func(f frameAt, seq uint64) int {
		return cmp.Compare(f.seq, seq)
	})
	frames = frames[first:]
	want := newest.oldest
	before := frames[0]
	for _, f := range frames {
		if f.seq != want {
			return frames, &DamageError{
				File: r.paths[before.file], Position: before.pos + blocks(frameHeaderBytes+int64(before.length)), Seq: want, Newest: newest.seq,
			}
		}
		before, want = f, want+1
	}
	return frames, nil
}

// scanFile adds the valid frames of one file to frames: the chain from its beginning and, where that breaks, every frame
// that begins at a later block, so that one behind damage is found.
func scanFile(fsys vfs.FS, path string, file int, frames []frameAt) ([]frameAt, error) {
	h, err := fsys.Open(path, vfs.SequentialReads)
	if err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", path, err)
	}
	defer func() { _ = h.Close() }()
	info, err := h.Stat()
	if err != nil {
		return nil, fmt.Errorf("journal: %s: %w", path, err)
	}
	frames, err = scanFrames(h, info.Size(), file, frames)
	return frames, wrapFile(path, err)
}

// scanFrames is scanFile on an open file.
func scanFrames(h io.ReaderAt, size int64, file int, frames []frameAt) ([]frameAt, error) {
	s := scanner{h: h, size: size}
	ok, err := s.begin()
	if err != nil || !ok {
		return frames, err
	}
	for pos := int64(blockBytes); pos+frameHeaderBytes <= s.size; {
		fh, ok, err := s.frame(pos)
		if err != nil {
			return nil, err
		}
		if !ok {
			pos += blockBytes
			continue
		}
		frames = append(frames, frameAt{frameHeader: fh, file: file, pos: pos})
		pos += blocks(frameHeaderBytes + int64(fh.length))
	}
	return frames, nil
}

func wrapFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal: read %s: %w", path, err)
}

// scanner reads frames of one file through a window.
type scanner struct {
	h    io.ReaderAt
	size int64
	salt uint64

	window []byte
	at     int64 // where the window begins
}

const windowBytes = 1 << 20

// begin reads the header block; false: the file has none, so no frame either.
func (s *scanner) begin() (bool, error) {
	head, err := s.read(0, min(s.size, blockBytes))
	if err != nil {
		return false, err
	}
	salt, ok, err := parseFileHeader(head)
	s.salt = salt
	return ok, err
}

// frame reads and checks the frame at pos.
func (s *scanner) frame(pos int64) (frameHeader, bool, error) {
	head, err := s.read(pos, frameHeaderBytes)
	if err != nil {
		return frameHeader{}, false, err
	}
	h, ok := parseFrameHeader(head, s.salt)
	if !ok || int64(h.length) > s.size-pos-frameHeaderBytes {
		return frameHeader{}, false, nil
	}
	crc := crc32.Checksum(head[8:], castagnoli)
	for from, left := pos+frameHeaderBytes, int64(h.length); left > 0; {
		piece, err := s.read(from, min(left, windowBytes/2))
		if err != nil {
			return frameHeader{}, false, err
		}
		crc = crc32.Update(crc, castagnoli, piece)
		from, left = from+int64(len(piece)), left-int64(len(piece))
	}
	return h, crc == h.crc, nil
}

// read answers n bytes at pos, n at most the window. They stay valid until the next read.
func (s *scanner) read(pos, n int64) ([]byte, error) {
	if pos < s.at || pos+n > s.at+int64(len(s.window)) {
		if s.window == nil {
			s.window = make([]byte, 0, min(windowBytes, s.size))
		}
		want := min(int64(cap(s.window)), s.size-pos)
		got, err := s.h.ReadAt(s.window[:want], pos)
		if int64(got) < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		s.at, s.window = pos, s.window[:got]
	}
	return s.window[pos-s.at : pos-s.at+n], nil
}

// index goes through the entries of the rounds and remembers where each log's are.
func (r *Replayed) index(frames []frameAt) error {
	var buf []byte
	var h vfs.File
	open := -1
	defer func() {
		if h != nil {
			_ = h.Close()
		}
	}()
	for _, f := range frames {
		if f.file != open {
			if h != nil {
				_ = h.Close()
			}
			var err error
			if h, err = r.fs.Open(r.paths[f.file]); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			open = f.file
		}
		buf = slices.Grow(buf[:0], int(f.length))[:f.length]
		if _, err := h.ReadAt(buf, f.pos+frameHeaderBytes); err != nil && err != io.EOF {
			return wrapFile(r.paths[f.file], err)
		}
		if err := r.indexFrame(f, buf); err != nil {
			return fmt.Errorf("%s, round %d at byte %d: %w", r.paths[f.file], f.seq, f.pos, err)
		}
		r.Rounds++
		r.Bytes += int64(f.length)
	}
	return nil
}

// indexFrame takes in the entries of one round. A checksum has vouched for the bytes, so what is malformed was written so.
func (r *Replayed) indexFrame(f frameAt, buf []byte) error {
	total := len(buf)
	for n := uint32(0); n < f.entries; n++ {
		at := total - len(buf)
		var e Entry
		rest, err := decodeEntry(buf, &e)
		if err != nil {
			return err
		}
		r.take(&e, ref{file: uint32(f.file), pos: f.pos + frameHeaderBytes + int64(at), size: uint32(len(buf) - len(rest))})
		buf = rest
	}
	if len(buf) != 0 {
		return fmt.Errorf("%w: %d bytes after the last entry", errMalformed, len(buf))
	}
	return nil
}

func (r *Replayed) take(e *Entry, at ref) {
	h := r.Logs[e.Key]
	if h == nil {
		h = &History{}
		r.Logs[e.Key] = h
	}
	switch e.Kind {
	case KindVoid:
		*h = History{Promised: e.Flushed, Voided: true}
	case KindNote:
		h.Promised = max(h.Promised, e.Flushed)
	case KindData:
		h.Promised = max(h.Promised, e.Flushed)
		if e.Base <= h.Promised { // its round is durable, so it may have been acknowledged
			h.Promised = max(h.Promised, e.End)
		}
		h.refs = append(h.refs, at)
	}
}

// Entries reads the data entries of one log, in the order written, and calls fn with each; an error of fn ends it. The
// entry's batches are valid after the call.
func (r *Replayed) Entries(key Key, fn func(Entry) error) error {
	h := r.Logs[key]
	if h == nil {
		return nil
	}
	var file vfs.File
	open := -1
	defer func() {
		if file != nil {
			_ = file.Close()
		}
	}()
	for _, at := range h.refs {
		if int(at.file) != open {
			if file != nil {
				_ = file.Close()
			}
			var err error
			if file, err = r.fs.Open(r.paths[at.file]); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			open = int(at.file)
		}
		buf := make([]byte, min(at.size, maxEntryBytes))
		if _, err := file.ReadAt(buf, at.pos); err != nil && err != io.EOF {
			return wrapFile(r.paths[at.file], err)
		}
		var e Entry
		if _, err := decodeEntry(buf, &e); err != nil {
			return wrapFile(r.paths[at.file], err)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
