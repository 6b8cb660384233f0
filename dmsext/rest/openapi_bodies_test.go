package rest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bodies are requests that the description lets through, and such that it does not.
var bodies = []struct {
	operation string
	taken     []string
	refused   []string // here
	farther   []string // by the queues, which are no part of these tests
}{
	{operation: "createQueue",
		taken: []string{
			`{"name":"a"}`, `{"name":"a","other":1}`, `{"name":"a","max_consume_count":0}`, `{"name":"a","redrive_policy":"disable","max_consume_count":7}`,
			`{"name":"a","redrive_policy":"enable","max_consume_count":1}`, `{"name":"a","queue_mode":null,"redrive_policy":"enable","max_consume_count":100}`,
			`{"name":"a","queue_mode":null,"description":null,"redrive_policy":null,"max_consume_count":null,"retention_hours":null,"partitions":null,"retry_backoff_ms":null}`,
			`{"name":"a","queue_mode":"KAFKA_HA","retention_hours":72,"partitions":200}`, `{"name":"a","queue_mode":"FIFO","partitions":1}`,
			`{"name":"a","retry_backoff_ms":500}`, `{"name":"a","retry_backoff_ms":"500,2,60000"}`, `{"name":"a","max_consume_count":3.0}`,
		},
		refused: []string{
			`[]`, `null`, `{"name":1}`, `{"name":"a","max_consume_count":101}`, `{"name":"a","max_consume_count":-1}`, `{"name":"a","max_consume_count":"5"}`,
			`{"name":"a","redrive_policy":"enable"}`, `{"name":"a","redrive_policy":"enable","max_consume_count":0}`, `{"name":"a","redrive_policy":"enable","max_consume_count":null}`,
			`{"name":"a","redrive_policy":"on"}`, `{"name":"a","queue_mode":""}`, `{"name":"a","retention_hours":0}`, `{"name":"a","retention_hours":73}`,
			`{"name":"a","partitions":0}`, `{"name":"a","partitions":1.5}`, `{"name":"a","retry_backoff_ms":-1}`, `{"name":"a","retry_backoff_ms":true}`,
		},
		farther: []string{
			`{}`, `{"name":null}`, `{"name":""}`, `{"name":"a b"}`, `{"name":"` + strings.Repeat("a", 65) + `"}`, `{"name":"a","description":"<"}`, `{"name":"a","queue_mode":"normal"}`,
			`{"name":"a","description":"` + strings.Repeat("é", 161) + `"}`, `{"name":"a","retention_hours":24}`, `{"name":"a","queue_mode":"FIFO","partitions":2}`,
			`{"name":"a","queue_mode":"KAFKA_HT","redrive_policy":"enable","max_consume_count":3}`, `{"name":"a","partitions":201}`,
		}},
	{operation: "createGroups",
		taken:   []string{`{"groups":[{"name":"a"}]}`},
		refused: []string{`{}`, `{"groups":[]}`, `{"groups":["a"]}`, `{"groups":[{"name":1}]}`, `{"groups":[` + strings.Repeat(`{"name":"a"},`, 10) + `{"name":"a"}]}`},
		farther: []string{`{"groups":[{}]}`, `{"groups":[{"name":"` + strings.Repeat("a", 33) + `"}]}`},
	},
	{operation: "sendMessages",
		taken: []string{
			`{"messages":[{"body":""}]}`, `{"messages":[{"body":false},{"body":0},{"body":[]},{"body":{}}]}`, `{"messages":[{"body":1}],"returnId":null,"return_id":null,"other":1}`,
			`{"messages":[{"body":1,"attributes":null,"tags":null,"delayTime":null,"delay_time":null}]}`, `{"messages":[{"body":1,"delayTime":604800000.5}]}`,
		},
		refused: []string{
			`{"messages":[{"body":null}]}`, `{"messages":[{}]}`, `{"messages":[{"body":1,"other":1}]}`, `{"messages":[{"body":1,"attributes":{"a":{}}}]}`, `{"messages":null}`,
			`{"messages":[{"body":1,"tags":["a","b","c","d"]}]}`, `{"messages":[{"body":1,"delayTime":-1}]}`, `{"messages":[{"body":1,"delayTime":604800001}]}`,
			`{"messages":[{"body":1}],"returnId":"true"}`, `{"messages":[` + strings.Repeat(`{"body":1},`, 10) + `{"body":1}]}`,
		},
		farther: []string{`{"messages":[{"body":1,"tags":[""]}]}`, `{"messages":[{"body":1,"tags":["a b"]}]}`}},
	{operation: "acknowledgeMessages",
		taken:   []string{`{"message":[{"handler":"h"}]}`, `{"message":[{"handler":"h","status":null}]}`},
		refused: []string{`{"message":[]}`, `{"message":[{"handler":null}]}`, `{"message":[{"handler":"h","status":"ok"}]}`, `{"message":[{"status":"fail"}]}`}},
	{operation: "settleLease",
		taken:   []string{`{"partition":0,"offset":0,"action":"accept","deadletters":null}`},
		refused: []string{`{"partition":-1,"offset":0,"action":"accept"}`, `{"partition":2147483648,"offset":0,"action":"accept"}`, `{"partition":0,"action":"accept"}`, `{"partition":0,"offset":0,"action":"x"}`}},
	{operation: "putTag",
		taken:   []string{`{"tag":{"key":"k"}}`, `{"tag":{"key":"k","value":null}}`, `{"tag":{"key":"` + strings.Repeat("é", 36) + `","value":"` + strings.Repeat("é", 43) + `"}}`},
		refused: []string{`{"tag":null}`, `{"tag":{"key":1}}`, `{"tag":{"key":"k","value":1}}`},
		farther: []string{`{"tag":{}}`, `{"tag":{"key":""}}`, `{"tag":{"key":"` + strings.Repeat("k", 37) + `"}}`, `{"tag":{"key":"k","value":"` + strings.Repeat("v", 44) + `"}}`,
			`{"tag":{"key":"a/b"}}`, `{"tag":{"key":"a\\b"}}`, `{"tag":{"key":"a\u001f"}}`, `{"tag":{"key":"k","value":"a|b"}}`}},
	{operation: "changeTags",
		taken:   []string{`{"action":"delete","tags":[{"key":"k"},{"key":"l","value":null}]}`, `{"action":"delete","tags":[` + strings.Repeat(`{"key":"k"},`, 10) + `{"key":"k"}]}`},
		refused: []string{`{"tags":[{"key":"k"}]}`, `{"action":"create","tags":[]}`, `{"action":"create"}`, `{"action":"delete","tags":[` + strings.Repeat(`{"key":"k"},`, 100) + `{"key":"k"}]}`},
		farther: []string{`{"action":"create","tags":[` + strings.Repeat(`{"key":"k"},`, 10) + `{"key":"l"}]}`}},
	{operation: "searchQueues",
		taken: []string{`{"action":"count"}`, `{"action":"filter","tags":null,"matches":null,"limit":null,"offset":null}`, `{"action":"filter","limit":"","offset":""}`,
			`{"action":"filter","limit":1000,"offset":7}`, `{"action":"filter","limit":"001","offset":"00"}`, `{"action":"count","limit":"0"}`,
			`{"action":"filter","tags":[{"key":"a/b","values":null}],"matches":[{"key":"resource_name"}]}`},
		refused: []string{`{}`, `{"action":"filter","limit":"0"}`, `{"action":"filter","limit":1001}`, `{"action":"filter","limit":"1001"}`, `{"action":"filter","offset":-1}`,
			`{"action":"filter","offset":"x"}`, `{"action":"filter","tags":[1]}`, `{"action":"filter","matches":[{"key":"name","value":"x"}]}`},
		farther: []string{`{"action":"filter","tags":[{"key":"` + strings.Repeat("k", 128) + `"}]}`, `{"action":"filter","tags":[{"key":"k","values":["a","a"]}]}`,
			`{"action":"filter","tags_any":[{"key":"k","values":["` + strings.Repeat("v", 256) + `"]}]}`}},
}

func TestBodiesAreTakenAsDescribed(t *testing.T) {
	d := readDescription(t)
	operations := d.operations()
	w := newWorld(t, nil)
	described := map[string]bool{}
	for _, b := range bodies {
		o := operations[b.operation]
		schema := d.at(o.body, "requestBody", "content", "application/json", "schema")
		described[b.operation] = true
		fits := func(body string) error {
			var v any
			require.NoError(t, json.Unmarshal([]byte(body), &v), body)
			return d.fits(schema, v, b.operation)
		}
		path := strings.NewReplacer("{dialect}", "v2", "{project_id}", project, "{queue_id}", queueID, "{group_id}", groupID).Replace(o.path)
		for _, body := range b.taken {
			require.NoError(t, fits(body), body)
			a := w.do(o.method, path, body)
			require.Less(t, a.status, 300, "%s: %s", body, a.body)
		}
		for _, body := range b.refused {
			require.Error(t, fits(body), body)
			require.Equal(t, 400, w.do(o.method, path, body).status, body)
		}
		for _, body := range b.farther {
			require.Error(t, fits(body), body)
		}
	}
	for id, o := range operations {
		require.Equal(t, o.body["requestBody"] != nil, described[id] || id == "acknowledgeDeadLetters", id)
	}
}

func TestParametersAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	group := d.at(d.root, "components", "parameters", "group_id", "schema")
	require.NoError(t, d.fits(group, groupID, ""))
	queue := d.at(d.root, "components", "parameters", "queue_id", "schema")
	require.NoError(t, d.fits(queue, queueID, ""))
	for _, bad := range []string{queueID[1:], queueID + "0", strings.ToUpper(queueID), strings.ReplaceAll(queueID, "-", "0"), strings.Repeat("-", 36)} {
		require.Error(t, d.fits(queue, bad, ""), bad)
		require.Error(t, d.fits(group, "g-"+bad, ""), bad)
	}
	w := newWorld(t, nil)
	all := w.do("GET", ofQueue+"/groups", "")
	for _, current := range []string{"false", "0", "-1", "x", ""} {
		a := w.do("GET", ofQueue+"/groups?page_size=1&current_page="+current, "")
		require.Equal(t, 200, a.status, "a page that is none is no error (D31)")
		require.Equal(t, all.body, a.body)
	}
	require.NotEqual(t, all.body, w.do("GET", ofQueue+"/groups?page_size=1&current_page=1", "").body)
	a := w.do("GET", "/v9", "")
	require.Equal(t, 404, a.status)
	require.Contains(t, d.operations()["showVersion"].body["responses"], "404")
	require.Contains(t, d.operations()["showVersion"].body["x-error-codes"], float64(a.code(t)))
}
