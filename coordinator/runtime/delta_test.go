package runtime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLiveTableIsDeltaOverView compares random tables with one plain map.
func TestLiveTableIsDeltaOverView(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		store, model := newMemStore(), map[string]string{}
		v := view{store}
		b := v.batch()
		set := func(w Writer) {
			key, value := fmt.Sprintf("%c%c", 'a'+rnd.IntN(3), 'a'+rnd.IntN(3)), fmt.Sprint(rnd.IntN(100))
			if rnd.IntN(4) == 0 {
				require.NoError(t, w.Delete([]byte(key)))
				delete(model, key)
			} else {
				require.NoError(t, w.Set([]byte(key), []byte(value)))
				model[key] = value
			}
		}
		for range rnd.IntN(10) {
			set(b)
		}
		require.NoError(t, b.commit(head{}))
		w := &deltaWriter{live: live{newDelta(), v}}
		for range rnd.IntN(10) {
			set(w)
		}
		prefix := []byte("abc"[:rnd.IntN(2)])
		from := []byte(strings.Repeat("b", rnd.IntN(3)))
		limit := rnd.IntN(6)
		var got, want []string
		require.NoError(t, w.Scan(prefix, from, func(key, value []byte) bool {
			got = append(got, string(key)+"="+string(value))
			return len(got) < limit
		}))
		for key, value := range model {
			if strings.HasPrefix(key, string(prefix)) && key >= string(from) {
				want = append(want, key+"="+value)
			}
			found, ok, err := w.Get([]byte(key))
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, value, string(found))
		}
		sort.Strings(want)
		require.Equal(t, want[:min(len(want), max(limit, 1))], append([]string(nil), got...)[:len(got):len(got)])
	}
}

// TestScansSeeADeltaThatComesAndGoes keeps one delta under random rows, scans and forgetting.
func TestScansSeeADeltaThatComesAndGoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	d, model, offset := newDelta(), map[string]int64{}, int64(0)
	w := &deltaWriter{live: live{d, view{newMemStore()}}}
	for i := range 20_000 {
		scans := 199
		if i > 10_000 {
			scans = 20 // keys go and come again between two scans
		}
		switch n := rnd.IntN(801 + scans); {
		case n < 800:
			key := fmt.Sprintf("%c%03d", 'a'+rnd.IntN(3), rnd.IntN(700))
			w.offset = offset
			require.NoError(t, w.Set([]byte(key), nil))
			model[key] = offset
			offset++
		case n < 800+scans:
			prefix, from := "abc"[:rnd.IntN(2)], fmt.Sprintf("%c%03d", 'a'+rnd.IntN(3), rnd.IntN(700))
			var got, want []string
			require.NoError(t, w.Scan([]byte(prefix), []byte(from), func(key, _ []byte) bool {
				got = append(got, string(key))
				return true
			}))
			for key := range model {
				if strings.HasPrefix(key, prefix) && key >= from {
					want = append(want, key)
				}
			}
			sort.Strings(want)
			require.Equal(t, want, got)
		default:
			upTo := offset - rnd.Int64N(10)
			w.marks = d.forget(w.marks, upTo)
			for key, made := range model {
				if made < upTo {
					delete(model, key)
				}
			}
		}
		require.LessOrEqual(t, len(d.order)+len(d.added), 2*len(d.rows)+keepQueue)
	}
}

// A scan costs what is in its range, however much else is in the delta.
func TestManyScansOfALargeDelta(t *testing.T) {
	const rows, scans = 50_000, 50_000
	w := &deltaWriter{live: live{newDelta(), view{newMemStore()}}}
	for i := range rows {
		require.NoError(t, w.Set(fmt.Appendf(nil, "a%d", i), nil))
	}
	began := time.Now()
	for i := range scans {
		n := 0
		require.NoError(t, w.Scan(fmt.Appendf(nil, "b%d", i), nil, func(_, _ []byte) bool { n++; return true }))
		require.Zero(t, n)
	}
	require.Less(t, time.Since(began), 5*time.Second) // 50 ms; a minute when each looks at all
}

func TestPrefixEnd(t *testing.T) {
	require.Equal(t, []byte("ac"), prefixEnd([]byte("ab")))
	require.Equal(t, []byte{2}, prefixEnd([]byte{1, 0xff, 0xff}))
	require.Nil(t, prefixEnd([]byte{0xff}))
	require.True(t, bytes.Equal(prefixEnd([]byte{7, 0, 0, 0, 0xff}), []byte{7, 0, 0, 1}))
}
