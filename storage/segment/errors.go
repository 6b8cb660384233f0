package segment

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt: the bytes of a log file are not batches that follow one another.
	ErrCorrupt = errors.New("segment: corrupt")
	// ErrIndex: an index does not fit its log file; it has to be rebuilt.
	ErrIndex = errors.New("segment: index does not fit its log")
	// ErrSideFile: a checkpoint, snapshot or metadata file does not decode.
	ErrSideFile = errors.New("segment: broken side file")
	// ErrNewerVersion: a side file is of a later version than this build reads. It is not damaged.
	ErrNewerVersion = errors.New("segment: side file of a newer version")
)

// CorruptError says where a log file stops being a chain of batches. errors.Is(err, ErrCorrupt).
type CorruptError struct {
	File     string
	Position int64 // where the bad batch begins
	Offset   int64 // record offset expected there
	Reason   error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment: %s is corrupt at byte %d, offset %d: %v", e.File, e.Position, e.Offset, e.Reason)
}

// Unwrap makes errors.Is true for ErrCorrupt and for the reason.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Reason} }
