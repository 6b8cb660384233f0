package rest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// jsonSeeds are texts that have gone wrong in one reader of JSON or another.
var jsonSeeds = []string{
	`{"messages":[{"body":{"a":[1,2.5e-3,true,null,"x"]},"attributes":{"k":"v"},"tags":["t"],"delayTime":5}],"returnId":true}`,
	`{"message":[{"handler":"aGVsbG8=","status":"success"},{"handler":"x","status":"fail"}]}`,
	`{"messages":[{"body":"\ud800\\u0000\"\/"}]}`, ` [ ] `, `{}`, `{"a":{"a":{"a":[[[]]]}}}`, `-0`, `01`, `1.`, `.5`, `1e+`, `"\u12"`, `"`, `{"a"}`, `{"a":}`, `[,]`, `[1,]`, `{,}`,
	`nul`, `true1`, "\"\x7f\"", "\"\x00\"", "\xef\xbb\xbf{}", `{"name":"a","name":null}`, `[[[[[[[[[[[[[[[[[[[[`, `{"action":"filter","limit":"10","tags":[{"key":"k","values":["v"]}]}`,
	`"12345678"`, `"1234567\""`, `"1234567\\"`, "\"1234567\x1f\"", `"éééééééé"`,
}

// FuzzScan compares what is JSON here with what is JSON to the standard library.
func FuzzScan(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := cursor{data: data}
		raw, err := c.value()
		if err == nil {
			err = c.end()
		}
		if depth(data) > nestingLimit-2 { // the library has another limit
			return
		}
		require.Equal(t, json.Valid(data), err == nil, "%q: %v", data, err)
		if err == nil {
			require.Equal(t, string(bytes.Trim(data, " \t\r\n")), string(raw))
		}
		if err == nil && isText(raw) && utf8.Valid(raw) {
			var want string
			require.NoError(t, json.Unmarshal(raw, &want))
			require.Equal(t, want, textOf(raw))
		}
	})
}

// depth is an upper bound of how deep values are nested.
func depth(data []byte) int { return bytes.Count(data, []byte("[")) + bytes.Count(data, []byte("{")) }

// FuzzSend checks that what is taken from a body is what the standard library reads there.
func FuzzSend(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m sending
		if err := m.read(data); err != nil {
			wrapped, coded := failure(messageBody.wrap(err))
			require.True(t, coded, "%v", err)
			require.True(t, json.Valid(appendError(nil, wrapped, "id")))
			return
		}
		var want struct {
			Messages []map[string]json.RawMessage
		}
		require.True(t, json.Valid(data))
		if json.Unmarshal(data, &want) != nil || len(want.Messages) != len(m.messages) {
			return // names in other cases, which the library takes for the same
		}
		received := make([]queue.Received, len(m.messages))
		for i, msg := range m.messages {
			require.True(t, json.Valid(msg.Body))
			if body, given := want.Messages[i]["body"]; given {
				require.JSONEq(t, string(body), string(msg.Body))
			}
			require.True(t, msg.Delay >= 0 && msg.Delay.Milliseconds() <= longestDelay)
			received[i] = queue.Received{Message: msg, Handle: "h"}
		}
		require.True(t, json.Valid(appendReceived(nil, received)), "what was sent can be received")
	})
}

// FuzzControlBodies looks for bodies that break one of the other readers, or that are refused without a code.
func FuzzControlBodies(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"name":"q","queue_mode":"FIFO","redrive_policy":"enable","max_consume_count":3,"retention_hours":5,"partitions":2}`))
	f.Add([]byte(`{"action":"create","tags":[{"key":"k","value":"v"}],"groups":[{"name":"a"}],"tag":{"key":"k"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func() error{
			func() error { var s settling; return s.read(data) },
			func() error { _, err := groupNames(data); return err },
			func() error { _, err := oneTag(data); return err },
			func() error { _, err := tagChange(data); return err },
			func() error { _, _, err := tagSearch(data); return err },
			func() error {
				body, err := document(data)
				if err == nil {
					_, err = newQueue(body)
				}
				return err
			},
		} {
			if err := read(); err != nil {
				e, coded := failure(controlBody.wrap(err))
				require.True(t, coded, "%v", err)
				require.True(t, json.Valid(appendError(nil, e, "id")))
			}
		}
	})
}

// FuzzQuery compares the query's keys with those that net/url finds.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "max_msgs=5&time_wait=10", "tag=a&tag=b&tag_type=and", "a=%zz", "a=%41+b", "&&=&a", "a=b=c", "tag=%00", "ack_wait=", "a;b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := url.Values{}
		var err error
		for rest := raw; rest != "" && err == nil; {
			var key, value string
			empty := rest[0] == '&'
			if key, value, rest, err = nextQuery(rest); err == nil && !empty {
				got.Add(key, value)
			}
		}
		want, wantErr := url.ParseQuery(raw)
		if wantErr == nil && err == nil {
			require.Equal(t, want, got)
		}
		if err == nil && !bytes.Contains([]byte(raw), []byte(";")) {
			require.NoError(t, wantErr)
		}
		if r, err := readReceive(raw, false); err == nil {
			require.True(t, r.Max >= 1 && r.Max <= 10 && len(r.Labels) <= 3)
		} else {
			_, coded := failure(err)
			require.True(t, coded)
		}
	})
}

// FuzzText checks that any text can be told in an answer.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\x1f\x7f", "é\u2028<>&", "\xff\xc3", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		require.NoError(t, json.Unmarshal(appendText(nil, s), &got))
		require.Equal(t, string([]rune(s)), got)
	})
}
