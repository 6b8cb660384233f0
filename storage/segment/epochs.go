package segment

import (
	"bytes"
	"fmt"
	"strconv"
)

// EpochFile is the name of the file with the first offsets of leader epochs, in a partition's directory.
const EpochFile = "leader-epoch-checkpoint"

// EpochEntry says at which offset a leader epoch begins.
type EpochEntry struct {
	Epoch int32
	Start int64
}

const epochFileVersion = 0

// EncodeEpochs is the content of the epoch file, Kafka's text:
//
//	0            version
//	2            number of entries
//	0 0          epoch, first offset
//	3 1500
func EncodeEpochs(entries []EpochEntry) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n%d\n", epochFileVersion, len(entries))
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %d\n", e.Epoch, e.Start)
	}
	return b.Bytes()
}

// DecodeEpochs reads the epoch file: epochs that rise with offsets that rise. Errors wrap ErrSideFile, ErrNewerVersion.
func DecodeEpochs(data []byte) ([]EpochEntry, error) {
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) < 2 {
		return nil, fmt.Errorf("%w: epoch file of %d bytes", ErrSideFile, len(data))
	}
	version, err := strconv.Atoi(string(lines[0]))
	if err != nil {
		return nil, fmt.Errorf("%w: epoch file begins with %.20q", ErrSideFile, lines[0])
	}
	if version != epochFileVersion {
		return nil, fmt.Errorf("%w: epoch file of version %d", ErrNewerVersion, version)
	}
	n, err := strconv.Atoi(string(lines[1]))
	if err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("%w: epoch file of %d lines says it has %.20q entries", ErrSideFile, len(lines), lines[1])
	}
	entries := make([]EpochEntry, 0, n)
	for _, line := range lines[2:] {
		left, right, ok := bytes.Cut(line, []byte(" "))
		epoch, err1 := strconv.ParseInt(string(left), 10, 32)
		start, err2 := strconv.ParseInt(string(right), 10, 64)
		if !ok || err1 != nil || err2 != nil || epoch < 0 || start < 0 {
			return nil, fmt.Errorf("%w: line %.60q of an epoch file", ErrSideFile, line)
		}
		if k := len(entries); k > 0 && (int32(epoch) <= entries[k-1].Epoch || start < entries[k-1].Start) {
			return nil, fmt.Errorf("%w: line %.60q of an epoch file does not follow the one before", ErrSideFile, line)
		}
		entries = append(entries, EpochEntry{Epoch: int32(epoch), Start: start})
	}
	return entries, nil
}
