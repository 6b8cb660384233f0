package runtime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

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
		w := &deltaWriter{live: live{delta{}, v}}
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

func TestPrefixEnd(t *testing.T) {
	require.Equal(t, []byte("ac"), prefixEnd([]byte("ab")))
	require.Equal(t, []byte{2}, prefixEnd([]byte{1, 0xff, 0xff}))
	require.Nil(t, prefixEnd([]byte{0xff}))
	require.True(t, bytes.Equal(prefixEnd([]byte{7, 0, 0, 0, 0xff}), []byte{7, 0, 0, 1}))
}
