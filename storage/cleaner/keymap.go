package cleaner

import "hash/maphash"

// keyMap is a table of bounded size from keys to the last offset they were seen at,
// with linear probing.
type keyMap struct {
	seeds [2]maphash.Seed
	base  int64 // offsets are kept relative to this
	slots []slot
	mask  uint64
	used  int
	full  int // used at which no new key is taken
}

type slot struct {
	hash [2]uint64
	at   uint32 // offset less base, plus 1; 0: free
}

const (
	slotBytes = 24
	minSlots  = 1 << 10
	// maxSpan bounds the offsets of one map; they are kept in 32 bits.
	maxSpan = 1<<32 - 2
)

// newKeyMap makes a table for up to records keys within the given memory in bytes.
func newKeyMap(base, records, memory int64) *keyMap {
	n := minSlots
	for int64(n)*3/4 < records && int64(n)*2*slotBytes <= memory {
		n *= 2
	}
	return &keyMap{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, base: base,
		slots: make([]slot, n), mask: uint64(n - 1), full: n / 4 * 3}
}

func (m *keyMap) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
}

// put notes that key was seen at offset, the largest so far. It answers false when the
// table is full and the key is not in it.
func (m *keyMap) put(key []byte, offset int64) bool {
	h := m.hash(key)
	for i := h[0] & m.mask; ; i = (i + 1) & m.mask {
		s := &m.slots[i]
		if s.at == 0 {
			if m.used >= m.full {
				return false
			}
			m.used++
			s.hash, s.at = h, uint32(offset-m.base)+1
			return true
		}
		if s.hash == h {
			s.at = uint32(offset-m.base) + 1
			return true
		}
	}
}

// last is the offset the key was seen at last; ok is false if it was not.
func (m *keyMap) last(key []byte) (offset int64, ok bool) {
	h := m.hash(key)
	for i := h[0] & m.mask; ; i = (i + 1) & m.mask {
		s := &m.slots[i]
		if s.at == 0 {
			return 0, false
		}
		if s.hash == h {
			return m.base + int64(s.at) - 1, true
		}
	}
}
