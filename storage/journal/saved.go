package journal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// savedFrameBytes is what Save puts into one frame at least, as long as there are entries.
const savedFrameBytes = 4 << 20

// Save writes entries, durably, to a file of their own, in the format of a journal file.
func Save(fsys vfs.FS, path string, entries []Entry) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	salt := binary.BigEndian.Uint64(random[:])
	data := fileHeader(salt)
	for seq := uint64(1); len(entries) > 0; seq++ {
		frame := make([]byte, frameHeaderBytes, savedFrameBytes)
		n := 0
		for n < len(entries) && len(frame) < savedFrameBytes {
			frame = appendEntry(frame, &entries[n])
			n++
		}
		sealFrame(frame, frameHeader{salt: salt, seq: seq, oldest: 1, entries: uint32(n)})
		data = append(data, frame...)
		data = append(data, make([]byte, blocks(int64(len(data)))-int64(len(data)))...)
		entries = entries[n:]
	}
	if err := vfs.WriteFileAtomic(fsys, path, data); err != nil {
		return fmt.Errorf("journal: save %s: %w", path, err)
	}
	return nil
}

// ReadSaved calls fn with each entry of a file that Save wrote, in order. A *DamageError when rounds of it are missing.
func ReadSaved(fsys vfs.FS, path string, fn func(Entry) error) error {
	frames, err := scanFile(fsys, path, 0, nil)
	if err != nil {
		return err
	}
	r := &Replayed{Logs: map[Key]*History{}, fs: fsys, paths: []string{path}}
	frames, err = r.live(frames)
	if err == nil {
		err = r.index(frames)
	}
	if err != nil {
		return err
	}
	for key := range r.Logs {
		if err := r.Entries(key, fn); err != nil {
			return err
		}
	}
	return nil
}
