package cluster

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

// trie is a persistent hash map: a changed copy shares everything with the original except the path to what changed, so an image of 100,000
// entries is copied in some hundred nanoseconds. It is a hash array mapped trie, 32 ways a level:
//
//	root   bitmap 1010...   one bit for each of 32 slots in use
//	       slots [leaf][node]...
//	                     \__ bitmap, slots ...   the next 5 bits of the hash
//
// The zero trie is empty and ready. Readers need no lock. A writer works on its own copy of the trie value and passes a fresh owner: nodes
// that this owner made are changed in place, all others are copied first.
type trie[K comparable, V any] struct {
	root *node[K, V]
	n    int
}

// owner marks the nodes of one edit. It has a size, so that two owners have two addresses.
type owner struct{ _ byte }

type node[K comparable, V any] struct {
	owner *owner
	used  uint32 // at levels that have hash bits left; below, slots is a plain list
	slots []slot[K, V]
}

// slot holds either a child or a leaf.
type slot[K comparable, V any] struct {
	child *node[K, V]
	leaf  *leaf[K, V]
}

type leaf[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

const (
	levelBits = 5
	levelMask = 1<<levelBits - 1
	hashBits  = 64
)

var hashSeed = maphash.MakeSeed()

func hashOf[K comparable](key K) uint64 { return maphash.Comparable(hashSeed, key) }

// find gives the index of hash's slot and whether it is in use.
func (n *node[K, V]) find(hash uint64, shift uint) (int, bool) {
	bit := uint32(1) << (hash >> shift & levelMask)
	return bits.OnesCount32(n.used & (bit - 1)), n.used&bit != 0
}

// Get answers the value of key.
func (t trie[K, V]) Get(key K) (value V, found bool) {
	if l := t.root.get(hashOf(key), key); l != nil {
		return l.value, true
	}
	return value, false
}

func (n *node[K, V]) get(hash uint64, key K) *leaf[K, V] {
	for shift := uint(0); n != nil; shift += levelBits {
		i, found := n.locate(hash, key, shift)
		if !found {
			return nil
		}
		if l := n.slots[i].leaf; l != nil {
			return l
		}
		n = n.slots[i].child
	}
	return nil
}

// Len is the number of entries.
func (t trie[K, V]) Len() int { return t.n }

// Set adds or replaces an entry.
func (t *trie[K, V]) Set(o *owner, key K, value V) {
	l := &leaf[K, V]{hash: hashOf(key), key: key, value: value}
	var added bool
	t.root, added = t.root.set(o, l, 0)
	if added {
		t.n++
	}
}

// Delete removes an entry, if it is there.
func (t *trie[K, V]) Delete(o *owner, key K) {
	root, removed := t.root.remove(o, hashOf(key), key, 0)
	if removed {
		t.root = root
		t.n--
	}
}

// owned gives n itself when this edit made it, else a copy that it may change.
func (n *node[K, V]) owned(o *owner) *node[K, V] {
	if n.owner == o {
		return n
	}
	slots := make([]slot[K, V], len(n.slots), len(n.slots)+1)
	copy(slots, n.slots)
	return &node[K, V]{owner: o, used: n.used, slots: slots}
}

func (n *node[K, V]) insertSlot(i int, s slot[K, V]) {
	n.slots = append(n.slots, slot[K, V]{})
	copy(n.slots[i+1:], n.slots[i:])
	n.slots[i] = s
}

func (n *node[K, V]) removeSlot(i int) {
	copy(n.slots[i:], n.slots[i+1:])
	n.slots[len(n.slots)-1] = slot[K, V]{}
	n.slots = n.slots[:len(n.slots)-1]
}

func (n *node[K, V]) set(o *owner, l *leaf[K, V], shift uint) (_ *node[K, V], added bool) {
	if n == nil {
		n = &node[K, V]{owner: o}
	} else {
		n = n.owned(o)
	}
	if shift >= hashBits {
		return n, n.setInList(l)
	}
	i, used := n.find(l.hash, shift)
	switch {
	case !used:
		n.used |= 1 << (l.hash >> shift & levelMask)
		n.insertSlot(i, slot[K, V]{leaf: l})
		return n, true
	case n.slots[i].child != nil:
		n.slots[i].child, added = n.slots[i].child.set(o, l, shift+levelBits)
		return n, added
	case n.slots[i].leaf.key == l.key:
		n.slots[i].leaf = l
		return n, false
	default: // two keys share the bits so far: both move a level down
		var child *node[K, V]
		child, _ = child.set(o, n.slots[i].leaf, shift+levelBits)
		child, _ = child.set(o, l, shift+levelBits)
		n.slots[i] = slot[K, V]{child: child}
		return n, true
	}
}

func (n *node[K, V]) setInList(l *leaf[K, V]) (added bool) {
	for i, s := range n.slots {
		if s.leaf.key == l.key {
			n.slots[i].leaf = l
			return false
		}
	}
	n.slots = append(n.slots, slot[K, V]{leaf: l})
	return true
}

// remove answers nil for a node that became empty. It leaves a node with one leaf where it is: correct, and rare.
func (n *node[K, V]) remove(o *owner, hash uint64, key K, shift uint) (_ *node[K, V], removed bool) {
	if n == nil {
		return nil, false
	}
	i, found := n.locate(hash, key, shift)
	if !found {
		return n, false
	}
	var child *node[K, V]
	if down := n.slots[i].child; down != nil {
		if child, removed = down.remove(o, hash, key, shift+levelBits); !removed {
			return n, false
		}
	}
	n = n.owned(o)
	if child != nil {
		n.slots[i].child = child
		return n, true
	}
	if shift < hashBits {
		n.used &^= 1 << (hash >> shift & levelMask)
	}
	n.removeSlot(i)
	if len(n.slots) == 0 {
		return nil, true
	}
	return n, true
}

// locate finds the slot in which key is, or below which it may be.
func (n *node[K, V]) locate(hash uint64, key K, shift uint) (int, bool) {
	if shift >= hashBits {
		for i, s := range n.slots {
			if s.leaf.key == key {
				return i, true
			}
		}
		return 0, false
	}
	i, used := n.find(hash, shift)
	if !used || n.slots[i].leaf != nil && n.slots[i].leaf.key != key {
		return 0, false
	}
	return i, true
}

// All yields the entries in no particular order.
func (t trie[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.root.each(yield) }
}

func (n *node[K, V]) each(yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	for _, s := range n.slots {
		if s.leaf != nil && !yield(s.leaf.key, s.leaf.value) || s.child != nil && !s.child.each(yield) {
			return false
		}
	}
	return true
}
