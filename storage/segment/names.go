package segment

import (
	"fmt"
	"strconv"
	"strings"
)

// Extensions of a segment's files.
const (
	LogExt      = ".log"
	IndexExt    = ".index"
	TimeExt     = ".timeindex"
	TxnExt      = ".txnindex"
	SnapshotExt = ".snapshot"
)

// Suffixes after the extension, of files that do not count (yet, or any more), and of a partition directory to be removed.
const (
	CleanedSuffix = ".cleaned" // being written by the cleaner
	SwapSuffix    = ".swap"    // complete, about to replace the segments it was made from
	DeletedSuffix = ".deleted" // out of the log, removed after file.delete.delay.ms
	TempSuffix    = ".tmp"     // side file being written
)

const offsetDigits = 20

// Name is the name of a file that begins at offset base.
func Name(base int64, ext string) string { return fmt.Sprintf("%0*d%s", offsetDigits, base, ext) }

// ParseName splits a file name into base offset, extension and suffix ("" or one of the suffixes); ok is false for files that
// are not named after an offset.
func ParseName(name string) (base int64, ext, suffix string, ok bool) {
	if len(name) <= offsetDigits || name[offsetDigits] != '.' {
		return 0, "", "", false
	}
	for _, c := range name[:offsetDigits] {
		if c < '0' || c > '9' {
			return 0, "", "", false
		}
	}
	base, err := strconv.ParseInt(name[:offsetDigits], 10, 64)
	if err != nil {
		return 0, "", "", false
	}
	ext = name[offsetDigits:]
	if i := strings.IndexByte(ext[1:], '.'); i >= 0 {
		ext, suffix = ext[:i+1], ext[i+1:]
	}
	switch ext {
	case LogExt, IndexExt, TimeExt, TxnExt, SnapshotExt:
	default:
		return 0, "", "", false
	}
	switch suffix {
	case "", CleanedSuffix, SwapSuffix, DeletedSuffix, TempSuffix:
		return base, ext, suffix, true
	}
	return 0, "", "", false
}
