package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTrieAgainstMap holds the trie against a map through random edits, and checks that what earlier copies hold never changes.
func TestTrieAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	type copied struct {
		trie  trie[string, *int]
		model map[string]*int
	}
	var kept []copied
	current := copied{model: map[string]*int{}}
	for range 300 {
		next := copied{trie: current.trie, model: maps.Clone(current.model)}
		o := new(owner)
		for range rng.IntN(40) {
			key := fmt.Sprint(rng.IntN(2000))
			if rng.IntN(3) == 0 {
				next.trie.Delete(o, key)
				delete(next.model, key)
			} else {
				value := new(int)
				next.trie.Set(o, key, value)
				next.model[key] = value
			}
		}
		requireDiff(t, current.model, next.model, current.trie, next.trie)
		kept = append(kept, next)
		current = next
	}
	for _, c := range kept {
		require.Equal(t, len(c.model), c.trie.Len())
		require.Equal(t, c.model, maps.Collect(c.trie.All()))
		for key, value := range c.model {
			got, found := c.trie.Get(key)
			require.True(t, found)
			require.Same(t, value, got)
		}
	}
	first, last := kept[0], kept[len(kept)-1]
	requireDiff(t, first.model, last.model, first.trie, last.trie)
	requireDiff(t, last.model, map[string]*int{}, last.trie, trie[string, *int]{})
}

func requireDiff(t *testing.T, a, b map[string]*int, ta, tb trie[string, *int]) {
	t.Helper()
	var want, got []string
	for key := range a {
		if a[key] != b[key] {
			want = append(want, key)
		}
	}
	for key := range b {
		if _, both := a[key]; !both {
			want = append(want, key)
		}
	}
	diff(ta, tb, func(was, is *leaf[string, *int]) bool {
		switch {
		case was == nil:
			got = append(got, is.key)
			require.Same(t, b[is.key], is.value)
		case is == nil:
			got = append(got, was.key)
			require.NotContains(t, b, was.key)
		default:
			require.Equal(t, was.key, is.key)
			got = append(got, was.key)
		}
		return true
	})
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
}

// TestTrieWithEqualHashes drives the bottom of the trie, which no real hash reaches: different keys of one hash.
func TestTrieWithEqualHashes(t *testing.T) {
	const hash = 0xdeadbeefcafebabe
	var root *node[string, int]
	o := new(owner)
	for i := range 5 {
		root, _ = root.set(o, &leaf[string, int]{hash: hash, key: fmt.Sprint(i), value: i}, 0)
	}
	was := root
	o = new(owner)
	root, added := root.set(o, &leaf[string, int]{hash: hash, key: "3", value: 33}, 0)
	require.False(t, added)
	root, removed := root.remove(o, hash, "1", 0)
	require.True(t, removed)
	_, removed = root.remove(o, hash, "1", 0)
	require.False(t, removed)

	require.Nil(t, root.get(hash, "1"))
	require.Equal(t, 33, root.get(hash, "3").value)
	require.Equal(t, 1, was.get(hash, "1").value)
	require.Equal(t, 3, was.get(hash, "3").value)
	var changed []string
	diffNodes(was, root, 0, func(a, b *leaf[string, int]) bool {
		changed = append(changed, a.key)
		return true
	})
	require.ElementsMatch(t, []string{"1", "3"}, changed)
	for i := range 5 {
		root, _ = root.remove(o, hash, fmt.Sprint(i), 0)
	}
	require.Nil(t, root)
}

func TestOrderAgainstSortedSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	name := func() string { return fmt.Sprintf("t%04d", rng.IntN(3000)) }
	model := map[string]bool{}
	for range 1000 {
		model[name()] = true
	}
	o := newOrder(slices.Sorted(maps.Keys(model)))
	before, was := o, slices.Sorted(maps.Keys(model))
	for range 6000 {
		n := name()
		if rng.IntN(2) == 0 {
			o = o.with(n)
			model[n] = true
		} else {
			o = o.without(n)
			delete(model, n)
		}
	}
	sorted := slices.Sorted(maps.Keys(model))
	require.Equal(t, sorted, slices.Collect(o.from("")))
	require.Equal(t, was, slices.Collect(before.from("")))
	for range 200 {
		start := name()
		i, _ := slices.BinarySearch(sorted, start)
		require.Equal(t, sorted[i:], slices.AppendSeq([]string{}, o.from(start)))
	}
	for _, n := range sorted {
		o = o.without(n)
	}
	require.Empty(t, o.chunks)
	require.Equal(t, []string{"a"}, slices.Collect(o.with("a").from("")))
}
