package record

import "fmt"

// Codec is how a batch's records are compressed, numbered as in its attributes.
type Codec uint8

// The codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
	numCodecs
)

var codecNames = [numCodecs]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Valid tells whether there is such a codec.
func (c Codec) Valid() bool { return c < numCodecs }

// String is Kafka's name of the codec.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec %d", uint8(c))
	}
	return codecNames[c]
}

// LevelRange is the range of a codec's compression level, KIP-390. Gzip's Default -1 lies outside its range and is allowed.
type LevelRange struct{ Min, Max, Default int }

// Levels is the range of c's levels; ok is false where the codec has none.
func Levels(c Codec) (r LevelRange, ok bool) {
	switch c {
	case Gzip:
		return LevelRange{Min: 1, Max: 9, Default: -1}, true
	case LZ4:
		return LevelRange{Min: 1, Max: 17, Default: 9}, true
	case Zstd:
		return LevelRange{Min: -131072, Max: 22, Default: 3}, true
	}
	return LevelRange{}, false
}

// CheckLevel tells whether Kafka takes level for compression.<codec>.level.
func CheckLevel(c Codec, level int) bool {
	r, ok := Levels(c)
	return ok && (level == r.Default || r.Min <= level && level <= r.Max)
}

// Compression is a topic's compression.type with the level that belongs to it. The zero value keeps what the producer chose.
type Compression struct {
	Force bool // compress with Codec, whatever the producer chose
	Codec Codec
	Level int // as CheckLevel takes it; 0 is the codec's default
}

// ParseCompression reads a value of compression.type: "producer", "uncompressed" or a codec's name.
func ParseCompression(name string) (c Compression, ok bool) {
	switch name {
	case "producer":
		return Compression{}, true
	case "uncompressed":
		return Compression{Force: true}, true
	}
	for codec := Gzip; codec < numCodecs; codec++ {
		if codecNames[codec] == name {
			return Compression{Force: true, Codec: codec}, true
		}
	}
	return Compression{}, false
}

// target is the codec that a batch of codec source is stored with.
func (c Compression) target(source Codec) Codec {
	if c.Force {
		return c.Codec
	}
	return source
}

// Compress appends src, compressed the way Kafka's Java client does it, to dst. Level as CheckLevel takes it, 0 for the
// codec's default; None copies.
func Compress(dst []byte, c Codec, level int, src []byte) ([]byte, error) {
	if r, ok := Levels(c); ok && level == 0 {
		level = r.Default
	}
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return appendGzip(dst, level, src)
	case Snappy:
		return appendSnappy(dst, src), nil
	case LZ4:
		return appendLZ4(dst, level, src)
	case Zstd:
		return appendZstd(dst, level, src)
	}
	return dst, fmt.Errorf("%w %d", ErrUnknownCodec, c)
}
