package cluster

import "math/bits"

// diff calls yield for every key whose entries in the two tries are not the same leaf, with both leaves (nil = no entry), until yield answers
// false. What the tries share is skipped whole, so the cost follows the difference, not the size.
func diff[K comparable, V any](old, new trie[K, V], yield func(old, new *leaf[K, V]) bool) {
	diffNodes(old.root, new.root, 0, yield)
}

func diffNodes[K comparable, V any](a, b *node[K, V], shift uint, yield func(a, b *leaf[K, V]) bool) bool {
	switch {
	case a == b:
		return true
	case a == nil || b == nil || shift >= hashBits:
		return diffLists(leaves(a), leaves(b), yield)
	}
	for used := a.used | b.used; used != 0; used &= used - 1 {
		hash := uint64(bits.TrailingZeros32(used)) << shift // a hash that leads to this slot
		if !diffSlots(a.at(hash, shift), b.at(hash, shift), shift, yield) {
			return false
		}
	}
	return true
}

func diffSlots[K comparable, V any](a, b slot[K, V], shift uint, yield func(a, b *leaf[K, V]) bool) bool {
	if a == b {
		return true
	}
	if a.child != nil && b.child != nil {
		return diffNodes(a.child, b.child, shift+levelBits, yield)
	}
	return diffLists(a.leaves(), b.leaves(), yield)
}

// diffLists compares leaves without order. At least one list is short (a single leaf) or one is empty, save at the bottom of the trie, where
// lists are the few keys of one hash.
func diffLists[K comparable, V any](a, b []*leaf[K, V], yield func(a, b *leaf[K, V]) bool) bool {
	partner := func(l *leaf[K, V], in []*leaf[K, V]) *leaf[K, V] {
		for _, other := range in {
			if other.key == l.key {
				return other
			}
		}
		return nil
	}
	for _, l := range a {
		if other := partner(l, b); other != l && !yield(l, other) {
			return false
		}
	}
	for _, l := range b {
		if partner(l, a) == nil && !yield(nil, l) {
			return false
		}
	}
	return true
}

// at answers the slot that hash leads to, the zero slot when it is free.
func (n *node[K, V]) at(hash uint64, shift uint) slot[K, V] {
	if i, used := n.find(hash, shift); used {
		return n.slots[i]
	}
	return slot[K, V]{}
}

func (s slot[K, V]) leaves() []*leaf[K, V] {
	if s.leaf != nil {
		return []*leaf[K, V]{s.leaf}
	}
	return leaves(s.child)
}

func leaves[K comparable, V any](n *node[K, V]) []*leaf[K, V] {
	if n == nil {
		return nil
	}
	var all []*leaf[K, V]
	for _, s := range n.slots {
		all = append(all, s.leaves()...)
	}
	return all
}
