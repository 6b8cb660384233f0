package queue

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var someJSON = []string{
	`"plain"`, `"esc\"aped \\ \u00e4 \/\b\f\n\r\t"`, `"ä€😀"`, `{"a": [1, -0.5e+10, 0, true, false, null, {}], "b":{"c":""}}`, " \t\r\n 1 ", `[]`, `[[[]]]`,
	`-0`, `1E5`, `01`, `1.`, `.5`, `-`, `1e`, `+1`, `tru`, `nulll`, `{"a"}`, `{"a":1,}`, `[1,]`, `[,1]`, `{1:2}`, `"\x"`, `"\u12g4"`, "\"\x1f\"", "\"\x7f\"",
	"\"\xff\"", "\"\xed\xa0\x80\"", `"`, ``, ` `, `"a"b`, `{"a":1}}`, `1 2`, "\x00", `[1`, `{"a":`, "\"12345678\x01\"", `"1234567"8"`, `"\ud800"`,
	strings.Repeat("[", 600) + strings.Repeat("]", 600), strings.Repeat("[", 600) + strings.Repeat("]", 599), strings.Repeat(`{"a":`, 499) + "1" + strings.Repeat("}", 499),
}

func sameAsPackageJSON(t *testing.T, b []byte) {
	t.Helper()
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) <= DeepestBody {
		require.Equal(t, utf8.Valid(b) && json.Valid(b), isJSON(b), "%.200q", b)
	}
}

// What cannot be sent over HTTP, because readers give up on it, does not come out of a Kafka client's hands as JSON either.
func TestDeepJSONIsShownAsAString(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	require.Equal(t, string(nested(DeepestBody)), string(bodyOf(nested(DeepestBody))))
	require.Regexp(t, `^"W1tb[A-Za-z0-9+/]*=*"$`, string(bodyOf(nested(DeepestBody+1))))
	require.True(t, isJSON([]byte(strings.Repeat("[", 100)+strings.Repeat("[],", 600)+"1"+strings.Repeat("]", 100))), "many are not deep")
}

func TestJSONIsWhatPackageJSONCallsSo(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	const odd = "\"\\[]{}:,0e.-\x01\x80\xc3u tfn"
	for _, s := range someJSON {
		sameAsPackageJSON(t, []byte(s))
		for range 100 { // what is nearly as good
			b := []byte(s)
			for range 1 + rnd.Intn(2) {
				if len(b) > 0 {
					b[rnd.Intn(len(b))] = odd[rnd.Intn(len(odd))]
				}
			}
			sameAsPackageJSON(t, b)
			sameAsPackageJSON(t, b[:rnd.Intn(len(b)+1)])
		}
	}
}

func FuzzIsJSON(f *testing.F) {
	for _, s := range someJSON {
		f.Add([]byte(s))
	}
	f.Fuzz(sameAsPackageJSON)
}
