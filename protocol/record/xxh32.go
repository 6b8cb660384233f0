package record

import (
	"encoding/binary"
	"math/bits"
)

// xxh32 is the XXH32 hash with seed 0, which LZ4 frames use for their checksums. The LZ4 library has it, but keeps it to itself.
func xxh32(p []byte) uint32 {
	const (
		prime1 uint32 = 2654435761
		prime2 uint32 = 2246822519
		prime3 uint32 = 3266489917
		prime4 uint32 = 668265263
		prime5 uint32 = 374761393
	)
	var h uint32
	size := uint32(len(p))
	if len(p) >= 16 {
		p1 := prime1
		lane := [4]uint32{p1 + prime2, prime2, 0, -p1}
		for ; len(p) >= 16; p = p[16:] {
			for i := range lane {
				lane[i] = bits.RotateLeft32(lane[i]+binary.LittleEndian.Uint32(p[4*i:])*prime2, 13) * prime1
			}
		}
		h = bits.RotateLeft32(lane[0], 1) + bits.RotateLeft32(lane[1], 7) +
			bits.RotateLeft32(lane[2], 12) + bits.RotateLeft32(lane[3], 18)
	} else {
		h = prime5
	}
	h += size
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*prime3, 17) * prime4
	}
	for _, c := range p {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}
