package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestASurvivorIsMadeOfStatesTheFileHad writes at random without truncations and
// checks that after a power cut the size is between the smallest and the largest
// since the last sync, and that each sector holds what it held at some moment
// since then, cut at the size.
func TestASurvivorIsMadeOfStatesTheFileHad(t *testing.T) {
	base := rand.Uint64()
	for i := range uint64(60) {
		seed := base + i
		rng := rand.New(rand.NewPCG(seed, 1))
		c := vfs.NewCrash(seed)
		f := file(t, c, "f", string(make([]byte, rng.IntN(3000))))
		history := []string{content(t, c, "f")}
		for range 1 + rng.IntN(15) {
			p := make([]byte, 1+rng.IntN(2000))
			for j := range p {
				p[j] = byte(1 + rng.IntN(255))
			}
			writeAt(t, f, string(p), rng.Int64N(4000))
			history = append(history, content(t, c, "f"))
			if rng.IntN(10) == 0 {
				require.NoError(t, f.Sync())
				history = history[len(history)-1:]
			}
		}
		for cut := range uint64(40) {
			where := fmt.Sprintf("seed %d, cut %d", seed, cut)
			requireMadeOf(t, content(t, c.PowerCut(cut), "f"), history, where)
		}
	}
}

func requireMadeOf(t *testing.T, got string, history []string, where string) {
	t.Helper()
	require.GreaterOrEqual(t, len(got), len(history[0]), where)
	require.LessOrEqual(t, len(got), len(history[len(history)-1]), where)
	for at := 0; at < len(got); at += 512 {
		end := min(at+512, len(got))
		found := false
		for _, h := range history {
			found = found || got[at:end] == padded(h, at, end)
		}
		require.True(t, found, "%s: sector at %d is none that was there", where, at)
	}
}

func padded(s string, at, end int) string {
	b := make([]byte, end-at)
	if at < len(s) {
		copy(b, s[at:min(end, len(s))])
	}
	return string(b)
}

// TestATruncatedFileSurvivesWithASizeItHad adds truncations, for which only the
// size is checked, and that recovery code can read all of it.
func TestATruncatedFileSurvivesWithASizeItHad(t *testing.T) {
	base := rand.Uint64()
	for i := range uint64(60) {
		seed := base + i
		rng := rand.New(rand.NewPCG(seed, 2))
		c := vfs.NewCrash(seed)
		f := file(t, c, "f", "")
		low, high := int64(0), int64(0)
		for range 12 {
			if rng.IntN(2) == 0 {
				require.NoError(t, c.Truncate("f", rng.Int64N(6000)))
			} else {
				writeAt(t, f, "x", rng.Int64N(6000))
			}
			info, err := f.Stat()
			require.NoError(t, err)
			low, high = min(low, info.Size()), max(high, info.Size())
			if rng.IntN(5) == 0 {
				require.NoError(t, f.Sync())
				low, high = info.Size(), info.Size()
			}
		}
		for cut := range uint64(40) {
			got := int64(len(content(t, c.PowerCut(cut), "f")))
			require.True(t, low <= got && got <= high, "seed %d, cut %d: size %d, had %d to %d", seed, cut, got, low, high)
		}
	}
}
