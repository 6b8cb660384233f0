package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// both gives a path in both dialects.
func both(path string) []string {
	rest, versioned := strings.CutPrefix(path, "/v1.0/")
	if !versioned {
		return []string{path}
	}
	return []string{path, "/v2/" + rest}
}

func TestAnswersToTheByte(t *testing.T) {
	w := newWorld(t, nil)
	w.receive = func(_ context.Context, r queue.Receive) ([]queue.Received, error) {
		return []queue.Received{
			{Message: queue.Message{Body: json.RawMessage(`{"b" : [1 , "<&>"]}`), Labels: []string{"eu", "vip"},
				Attributes: []queue.Attribute{{Name: "so\"urce", Value: []byte(`"web"`)}, {Name: " retry ", Value: []byte(`1e3`)}}}, Handle: "eyJ="},
			{Message: queue.Message{Body: json.RawMessage(`"plain"`)}, Handle: "h2", ID: "7", Deliveries: 3},
		}, nil
	}
	const fifo = `{"id":"5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11","name":"orders","description":"order <events>\n","queue_mode":"FIFO","reservation":4320,` +
		`"created":1893456000000,"eff_date":1893456000000,"max_msg_size_byte":524288,"produced_messages":12,`
	const kafka = `{"id":"5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a12","name":"clicks","description":null,"queue_mode":"KAFKA_HT","reservation":2160,` +
		`"created":1893456000001,"eff_date":1893456000001,"max_msg_size_byte":524288,"produced_messages":0,"group_count":0}`
	const billing = `"produced_messages":12,"consumed_messages":5,"available_messages":6,`
	const beyond = `"in_flight_messages":2,"filtered_messages":1,"skipped_messages":3}`
	for _, x := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", base + "/queues", "", 200, `{"total":2,"queues":[` + kafka + `,` + fifo + `"group_count":2}]}`},
		{"GET", base + "/queues?include_deadletter=TRUE", "", 200, `{"total":2,"queues":[` + kafka + `,` + fifo + `"redrive_policy":"enable","max_consume_count":5,"group_count":2}]}`},
		{"GET", ofQueue + "?include_deadletter=false", "", 200, fifo + `"group_count":2,"topic":"q","partitions":1,"retry_backoff_ms":"100,2"}`},
		{"POST", base + "/queues", `{"name":"n","queue_mode":"KAFKA_HT","retention_hours":24}`, 201, `{"id":"` + queueID + `","name":"n","kafka_topic":"k-` + project + `-` + queueID + `"}`},
		{"POST", base + "/queues", `{"name":"n","unknown":{"x":[]},"description":null}`, 201, `{"id":"` + queueID + `","name":"n"}`},
		{"DELETE", ofQueue, "", 204, ""},
		{"POST", ofQueue + "/groups", `{"groups":[{"name":"b"},{"name":"a"}]}`, 201, `{"groups":[{"id":"g-b","name":"b"},{"id":"g-a","name":"a"}]}`},
		{"GET", ofQueue + "/groups?page_size=1&current_page=1", "", 200, `{"queue_id":"` + queueID + `","queue_name":"orders","groups":[{"id":"` + groupID + `","name":"billing",` + billing + beyond + `]}`},
		{"GET", ofQueue + "/groups?page_size=1&current_page=1&include_deadletter=true", "", 200, `{"queue_id":"` + queueID + `","queue_name":"orders","redrive_policy":"enable","groups":[{"id":"` + groupID + `","name":"billing",` + billing +
			`"produced_deadletters":2,"available_deadletters":1,` + beyond + `]}`},
		{"DELETE", ofGroup, "", 204, ""},
		{"POST", ofQueue + "/messages", `{"messages":[{"body":"x"},{"body":{}}]}`, 201, `{"messages":[{"error":null,"error_code":null,"state":0},{"error":null,"error_code":null,"state":0}]}`},
		{"POST", ofQueue + "/messages", `{"returnId":true,"messages":[{"body":"x"}]}`, 201, `{"messages":[{"error":null,"error_code":null,"state":0,"id":"id-0"}]}`},
		{"POST", ofQueue + "/messages", `{"return_id":true,"messages":[{"body":"x"}]}`, 201, `{"messages":[{"error":null,"error_code":null,"state":0,"id":"id-0"}]}`},
		{"GET", ofGroup + "/messages", "", 200, `[{"message":{"body":{"b" : [1 , "<&>"]},"attributes":{"so\"urce":"web"," retry ":1e3},"tags":["eu","vip"]},"handler":"eyJ="},` +
			`{"message":{"body":"plain","attributes":{}},"handler":"h2"}]`},
		{"POST", ofGroup + "/ack", `{"message":[{"handler":"h1","status":"success"},{"handler":"h2"},{"handler":"h3","status":"fail"}]}`, 200, `{"success":2,"fail":1}`},
		{"POST", ofGroup + "/deadletters/ack", `{"message":[{"handler":"h1","status":null}]}`, 200, `{"success":1,"fail":0}`},
		{"GET", base + "/quotas/dms", "", 200, `{"quotas":{"resources":[{"type":"queue","quota":30,"used":5,"min":0,"max":500}]}}`},
		{"GET", base + "/quotas", "", 200, `{"quotas":{"resources":[{"type":"queue","quota":30,"used":5,"min":0,"max":500}]}}`},
		{"GET", base + "/queue/" + queueID + "/tags", "", 200, `{"tags":[{"key":"env","value":"prod"},{"key":"empty","value":""}]}`},
		{"GET", base + "/queue/tags", "", 200, `{"tags":[{"key":"env","values":["prod","test"]}]}`},
		{"POST", base + "/queue/" + queueID + "/tags", `{"tag":{"key":"k","value":"v"}}`, 204, ""},
		{"POST", base + "/queue/" + queueID + "/tags/action", `{"action":"delete","tags":[{"key":"k"}]}`, 204, ""},
		{"DELETE", base + "/queue/" + queueID + "/tags/k%20%C3%A9", "", 204, ""},
		{"POST", base + "/queue/resource_instances/action", `{"action":"filter"}`, 200, `{"resources":[{"resource_id":"` + queueID + `","resource_name":"orders","resource_detail":null,"tags":[{"key":"env","value":"prod"}]}],"total_count":7}`},
		{"POST", base + "/queue/resource_instances/action", `{"action":"count"}`, 200, `{"total_count":7}`},
	} {
		for _, path := range both(x.path) {
			a := w.do(x.method, path, x.body, "Content-Type: application/json")
			require.Equal(t, x.status, a.status, "%s %s: %s", x.method, path, a.body)
			require.Equal(t, x.want, a.body, "%s %s", x.method, path)
			require.Len(t, a.header.Get("X-Request-Id"), 32)
		}
	}
	require.Equal(t, "k é", w.last.key)
}

func TestEmptyListsAreArrays(t *testing.T) {
	w := newWorld(t, nil)
	w.listed, w.groups.Groups = nil, nil
	require.Equal(t, `{"total":0,"queues":[]}`, w.do("GET", base+"/queues", "").body)
	require.Equal(t, `{"queue_id":"`+queueID+`","queue_name":"orders","groups":[]}`, w.do("GET", ofQueue+"/groups", "").body)
	require.Equal(t, `[]`, w.do("GET", ofGroup+"/messages", "").body)
}

func TestQueuesAreMadeAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	for body, want := range map[string]queue.NewQueue{
		`{"name":"a"}`: {Name: "a", Mode: queue.Normal},
		`{"name":"a","queue_mode":"FIFO","description":"d\u00e9\n","redrive_policy":"enable","max_consume_count":5}`: {Name: "a", Mode: queue.FIFO, Description: words("dé\n"), Redrive: true, MaxConsumeCount: 5},
		`{"name":"a","redrive_policy":"disable","max_consume_count":0}`:                                              {Name: "a", Mode: queue.Normal},
		`{"name":"a","redrive_policy":"enable","max_consume_count":1e2}`:                                             {Name: "a", Mode: queue.Normal, Redrive: true, MaxConsumeCount: 100},
		`{"name":"a","queue_mode":"KAFKA_HA","retention_hours":72.0}`:                                                {Name: "a", Mode: queue.KafkaHA, RetentionHours: 72},
		`{"name":"x","name":"a","queue_mode":null,"redrive_policy":null,"retention_hours":null}`:                     {Name: "a", Mode: queue.Normal},
		`{"name":"a","partitions":7,"retry_backoff_ms":"100,2,1000"}`:                                                {Name: "a", Mode: queue.Normal, Partitions: 7, RetryBackoff: "100,2,1000"},
		`{"name":"a","retry_backoff_ms":2e3}`:                                                                        {Name: "a", Mode: queue.Normal, RetryBackoff: "2000"},
	} {
		require.Equal(t, 201, w.do("POST", base+"/queues", body).status, body)
		require.Equal(t, want, w.last.created, body)
	}
}

func TestMessagesArriveAsSent(t *testing.T) {
	w := newWorld(t, nil)
	send := func(body string) []queue.Message {
		a := w.do("POST", ofQueue+"/messages", body)
		require.Equal(t, 201, a.status, a.body)
		return w.last.sent
	}
	messages := []string{
		`{"body" : { "a" : "\u00e9 \ud83d" , "a":2 } ,"attributes":{"x":"1","y":2,"x":null, "\u0079":true," z ":"  "},"tags":["eu","v\u0069p"],"delayTime":1500.9}`,
		`{"body":[],"delay_time":604800000.5,"attributes":null,"tags":null}`, `{"body":0,"delayTime":null}`, `{"body":"","delayTime":-0.5}`,
	}
	got := send(` { "extra" : {"deep":[[]]}, "returnId":null, "messages" : [ ` + strings.Join(messages, " ,\n\t") + `]} `)
	for i := range got {
		require.Equal(t, len(messages[i]), got[i].Size)
		got[i].Size = 0
	}
	require.Equal(t, []queue.Message{
		{Body: json.RawMessage(`{ "a" : "\u00e9 \ud83d" , "a":2 }`), Delay: 1500 * time.Millisecond, Labels: []string{"eu", "vip"},
			Attributes: []queue.Attribute{{Name: "x", Value: []byte(`"1"`)}, {Name: "y", Value: []byte("2")}, {Name: "x", Value: []byte("null")}, {Name: "y", Value: []byte("true")}, {Name: " z ", Value: []byte(`"  "`)}}},
		{Body: json.RawMessage(`[]`), Delay: 7 * 24 * time.Hour},
		{Body: json.RawMessage(`0`)},
		{Body: json.RawMessage(`""`)},
	}, got)
	got = send(`{"messages":[{"body":1},{"body":2}],"messages":[{"body":3}]}`)
	require.Len(t, got, 1, "of a name that stands twice the last value counts")
}

func TestTheDeepestBodyThatCanBeSentIsShownAsOne(t *testing.T) {
	w := newWorld(t, nil)
	send := func(depth int) int {
		return w.do("POST", ofQueue+"/messages", `{"messages":[{"body":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+`}]}`).status
	}
	require.Equal(t, 201, send(queue.DeepestBody))
	require.Equal(t, 400, send(queue.DeepestBody+1))
}

func TestRetrievalsAreAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	for query, want := range map[string]queue.Receive{
		"": {Max: 10, Wait: 3 * time.Second, AckWait: 30 * time.Second},
		"?max_msgs=&time_wait=&ack_wait=&tag=&tag_type=":   {Max: 10, Wait: 3 * time.Second, AckWait: 30 * time.Second},
		"?max_msgs=1&time_wait=60&ack_wait=300&other=%20x": {Max: 1, Wait: 60 * time.Second, AckWait: 300 * time.Second},
		"?tag=a&tag=b&tag=a&tag=c&tag_type=and&ack_wait=15": {Max: 10, Wait: 3 * time.Second, AckWait: 15 * time.Second,
			Labels: []string{"a", "b", "c"}, AllLabels: true},
		"?%74ag=%61&tag_type=or&&time_wait=1": {Max: 10, Wait: time.Second, AckWait: 30 * time.Second, Labels: []string{"a"}},
	} {
		require.Equal(t, 200, w.do("GET", ofGroup+"/messages"+query, "", "Content-Type: application/json").status, query)
		require.Equal(t, want, w.last.receive, query)
	}
	require.Equal(t, 200, w.do("GET", ofGroup+"/deadletters?max_msgs=2&tag=x&tag_type=nor", "").status)
	require.Equal(t, queue.Receive{Max: 2, Wait: 3 * time.Second, AckWait: 30 * time.Second, DeadLetters: true}, w.last.receive)
	require.Equal(t, []string{project, queueID, groupID}, []string{w.last.project, w.last.queue, w.last.group})
}

func TestAcknowledgementsAreAsSent(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, 200, w.do("POST", ofGroup+"/ack", `{"message":[{"handler":"h\u0031","status":"\u0073uccess","x":1},{"status":"fail","handler":""}],"y":[]}`).status)
	require.Equal(t, []queue.Ack{{Handle: "h1", Success: true}, {}}, w.last.acks)
	require.False(t, w.last.dead)
	require.Equal(t, 200, w.do("POST", ofGroup+"/deadletters/ack", `{"message":[{"handler":"h"}]}`).status)
	require.True(t, w.last.dead)
}

func TestGroupsAreListedAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	for query, want := range map[string]string{
		"": "billing audit third", "?page_size=2&current_page=1": "billing audit", "?page_size=2&current_page=2": "third", "?page_size=2&current_page=3": "",
		"?page_size=2": "billing audit third", "?page_size=0&current_page=1": "billing audit third", "?page_size=x&current_page=1": "billing audit third",
		"?page_size=9223372036854775807&current_page=1": "billing audit third", "?page_size=1&current_page=9223372036854775807": "",
		"?page_size=1&current_page=9223372036854775808": "billing audit third",
	} {
		a := w.do("GET", ofQueue+"/groups"+query, "")
		require.Equal(t, 200, a.status)
		var list struct{ Groups []struct{ Name string } }
		require.NoError(t, json.Unmarshal([]byte(a.body), &list))
		var names []string
		for _, g := range list.Groups {
			names = append(names, g.Name)
		}
		require.Equal(t, want, strings.Join(names, " "), query)
		require.True(t, w.last.groups.Counts)
	}
	w.do("GET", ofQueue+"/groups?include_messages_num=False", "")
	require.False(t, w.last.groups.Counts)
	w.groups.Queue.Mode = queue.KafkaHA
	require.NotContains(t, w.do("GET", ofQueue+"/groups?include_deadletter=true", "").body, "dead")
}

func TestTagsAndSearchesAreAsAsked(t *testing.T) {
	w := newWorld(t, nil)
	tags := base + "/queue/" + queueID + "/tags"
	require.Equal(t, 204, w.do("POST", tags, `{"tag":{"key":"k","value":null}}`).status)
	require.Equal(t, queue.Tag{Key: "k"}, w.last.tag)
	require.Equal(t, 204, w.do("POST", tags+"/action", `{"action":"delete","tags":[{"key":"k"},{"key":"l","value":""}]}`).status)
	require.Equal(t, queue.TagChange{Delete: true, Tags: []queue.TagRemoval{{Key: "k"}, {Key: "l", Value: words("")}}}, w.last.change)
	require.Equal(t, 204, w.do("POST", tags+"/action", `{"action":"create","tags":[{"key":"k"}]}`).status)
	require.Equal(t, queue.TagChange{Tags: []queue.TagRemoval{{Key: "k", Value: words("")}}}, w.last.change)
	require.Equal(t, 200, w.do("POST", base+"/queue/resource_instances/action", `{"action":"filter","tags":[{"key":"a","values":["1","2"]}],"tags_any":[{"key":"b"}],
		"not_tags":[{"key":"c","values":[]}],"not_tags_any":[{"key":"d","values":["x"]}],"matches":[{"key":"resource_name","value":"ord"}],"limit":"5","offset":"2"}`).status)
	require.Equal(t, queue.TagSearch{All: []queue.TagValues{{Key: "a", Values: []string{"1", "2"}}}, Any: []queue.TagValues{{Key: "b"}}, NotAll: []queue.TagValues{{Key: "c"}},
		NotAny: []queue.TagValues{{Key: "d", Values: []string{"x"}}}, Name: "ord", Limit: 5, Offset: 2}, w.last.search)
	require.Equal(t, 204, w.do("DELETE", tags+"/action", "").status, "a key like any other")
	require.Equal(t, "action", w.last.key)
	require.Equal(t, 200, w.do("POST", base+"/queue/resource_instances/action", `{"action":"filter","limit":7,"offset":""}`).status)
	require.Equal(t, queue.TagSearch{Limit: 7}, w.last.search)
}

func TestVersions(t *testing.T) {
	keystone := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("identity " + r.URL.Path))
	})
	w := newWorld(t, func(o *Options) { o.IdentityHandler, o.ServiceURL = keystone, "https://mq.example/" })
	a := w.do("GET", "/", "")
	require.Equal(t, 300, a.status)
	require.Equal(t, `{"versions":{"values":[{"id":"v1.0","status":"CURRENT","links":[{"rel":"self","href":"https://mq.example/v1.0/"}]},`+
		`{"id":"v3.14","status":"CURRENT","links":[{"rel":"self","href":"https://mq.example/v3/"}]}]}}`, a.body)
	a = w.do("GET", "/v2/", "")
	require.Equal(t, `{"version":{"id":"v2","status":"CURRENT","links":[{"rel":"self","href":"https://mq.example/v2/"}]}}`, a.body)
	for _, path := range []string{"/v3", "/v3/auth/tokens", "/v3.0/OS-CREDENTIAL/securitytokens"} {
		a = w.do("POST", path, "{}")
		require.Equal(t, 201, a.status)
		require.Equal(t, "identity "+path, a.body)
		require.NotEmpty(t, a.header.Get("X-Request-Id"))
	}
	w = newWorld(t, nil)
	a = w.do("GET", "/", "")
	require.Contains(t, a.body, `"href":"http://`+w.address+`/v2/"`)
	require.Equal(t, 404, w.do("GET", "/v3", "").status)
}

func TestHeadHasNoBodyAndTakesNoMessages(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{base + "/queues", ofQueue, "/", "/openapi.json"} {
		a := w.do("HEAD", path, "")
		require.Less(t, a.status, 400, path)
		require.Empty(t, a.body)
		require.Equal(t, strconv.Itoa(len(w.do("GET", path, "").body)), a.header.Get("Content-Length"), path)
	}
	for _, path := range []string{ofGroup + "/messages", ofGroup + "/deadletters"} {
		require.Equal(t, 405, w.do("HEAD", path, "").status)
	}
	require.Equal(t, 204, w.do("OPTIONS", "*", "").status)
}
