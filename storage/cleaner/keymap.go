package cleaner

import (
	"hash/maphash"
	"runtime"
)

// keyMap is a table from keys to the last offset they were seen at. It takes memory for the keys it holds, up to a bound.
// Keys are spread over parts that grow each by itself, so that growing needs little memory at a time; each part probes
// linearly.
type keyMap struct {
	seeds [2]maphash.Seed
	base  int64 // offsets are kept relative to this
	parts [mapParts]part
	room  int64 // bytes that may still be allocated
	left  int64 // bytes of tables outgrown and not collected yet
}

type part struct {
	slots []slot
	used  int
}

type slot struct {
	hash [2]uint64
	at   uint32 // offset less base, plus 1; 0: free
}

const (
	slotBytes = 24
	mapParts  = 64
	minSlots  = 1 << 4
	// maxSpan bounds the offsets of one map; they are kept in 32 bits.
	maxSpan = 1<<32 - 2
	// collectBytes of outgrown tables are collected at once: a run is to take the memory of its map, not twice that until
	// the collector comes by itself.
	collectBytes = 8 << 20
)

// newKeyMap makes a table that grows up to memory bytes.
func newKeyMap(base, memory int64) *keyMap {
	m := &keyMap{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, base: base, room: memory - mapParts*minSlots*slotBytes}
	for i := range m.parts {
		m.parts[i].slots = make([]slot, minSlots)
	}
	return m
}

// find is the slot of a hash in the part: its own or a free one.
func (p *part) find(h [2]uint64) *slot {
	mask := uint64(len(p.slots) - 1)
	for i := h[0] & mask; ; i = (i + 1) & mask {
		if s := &p.slots[i]; s.at == 0 || s.hash == h {
			return s
		}
	}
}

// grow doubles a part, if there is memory for it.
func (m *keyMap) grow(p *part) bool {
	size := int64(len(p.slots)) * slotBytes
	if m.room < size {
		return false
	}
	old := p.slots
	p.slots = make([]slot, 2*len(old))
	for i := range old {
		if old[i].at != 0 {
			*p.find(old[i].hash) = old[i]
		}
	}
	m.room -= size
	if m.left += size; m.left > collectBytes {
		m.left = 0
		runtime.GC()
	}
	return true
}

func (m *keyMap) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
}

// put notes that key was seen at offset, the largest so far. It answers false when the
// table is full and the key is not in it.
func (m *keyMap) put(key []byte, offset int64) bool {
	h := m.hash(key)
	p := &m.parts[h[1]%mapParts]
	s := p.find(h)
	if s.at == 0 {
		if p.used >= len(p.slots)/4*3 {
			if !m.grow(p) {
				return false
			}
			s = p.find(h)
		}
		p.used++
		s.hash = h
	}
	s.at = uint32(offset-m.base) + 1
	return true
}

// last is the offset the key was seen at last; ok is false if it was not.
func (m *keyMap) last(key []byte) (offset int64, ok bool) {
	h := m.hash(key)
	s := m.parts[h[1]%mapParts].find(h)
	return m.base + int64(s.at) - 1, s.at != 0
}
