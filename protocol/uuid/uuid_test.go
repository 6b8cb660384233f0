package uuid

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
)

func TestTextIsWhatKafkaPrints(t *testing.T) {
	for _, c := range []struct {
		id   ID
		text string
	}{
		{ID{}, "AAAAAAAAAAAAAAAAAAAAAA"},
		{ID{15: 1}, "AAAAAAAAAAAAAAAAAAAAAQ"}, // the metadata topic
		{ID{0xfb, 0xff, 0xfe, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, "-__-AwQFBgcICQoLDA0ODw"},
	} {
		require.Equal(t, c.text, c.id.String())
		got, err := Parse(c.text)
		require.NoError(t, err)
		require.Equal(t, c.id, got)
		got, err = Parse(c.text + "==")
		require.NoError(t, err)
		require.Equal(t, c.id, got)
	}
}

func TestParseRefusesWhatIsNoID(t *testing.T) {
	good := ID{1, 2, 3}.String()
	for _, s := range []string{
		"", "x", good[:21], good + "A", good + "AA", good + "=", good[:20] + "+/", good[:20] + "==", good[:20] + "\n\n",
		good + "\n\n", "\r\n" + good, strings.Repeat("A", 1<<20), good[:21] + "é",
	} {
		id, err := Parse(s)
		require.ErrorIs(t, err, ErrFormat, "%.40q", s)
		require.Less(t, len(err.Error()), 200)
		require.True(t, id.IsZero())
	}
}

func TestNewIsNeverReservedAndNeverLooksLikeAFlag(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	seen := map[ID]bool{}
	for range 5000 {
		id := New()
		require.False(t, seen[id])
		seen[id] = true
		require.NotEqual(t, byte('-'), id.String()[0])
		require.False(t, id.Reserved())
	}
}

func TestReserved(t *testing.T) {
	require.True(t, ID{}.Reserved())
	require.True(t, ID{15: 99}.Reserved())
	require.False(t, ID{15: 100}.Reserved())
	require.False(t, ID{0: 1}.Reserved())
}

func TestJSON(t *testing.T) {
	type doc struct {
		ID  ID         `json:"id,omitzero"`
		Map map[ID]int `json:"map,omitempty"`
	}
	in := doc{ID: ID{1}, Map: map[ID]int{{2}: 3}}
	b, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"AQAAAAAAAAAAAAAAAAAAAA","map":{"AgAAAAAAAAAAAAAAAAAAAA":3}}`, string(b))
	var out doc
	require.NoError(t, json.Unmarshal(b, &out))
	require.Equal(t, in, out)
	require.Error(t, json.Unmarshal([]byte(`{"id":"short"}`), &out))
	b, err = json.Marshal(doc{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(b))
}

func FuzzParse(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAAAAAAAQ")
	f.Add("AAAAAAAAAAAAAAAAAAAAAQ==")
	f.Add("-__-AwQFBgcICQoLDA0ODw\n")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
