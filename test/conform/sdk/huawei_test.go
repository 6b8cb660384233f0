package sdk

import (
	"net/http"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	"github.com/stretchr/testify/require"
)

// request has the fields of all requests; what is not set is not sent.
type request struct {
	Queue      *string   `json:"queue_id,omitempty"`
	Group      *string   `json:"group_id,omitempty"`
	Key        *string   `json:"key,omitempty"`
	DeadLetter *bool     `json:"include_deadletter,omitempty"`
	Max        *int32    `json:"max_msgs,omitempty"`
	Wait       *int32    `json:"time_wait,omitempty"`
	AckWait    *int32    `json:"ack_wait,omitempty"`
	Tag        *[]string `json:"tag,omitempty"`
	TagType    *string   `json:"tag_type,omitempty"`
	Body       *any      `json:"body,omitempty"`
}

// locations say where each field of a request goes.
var locations = []struct {
	name, tag string
	at        def.LocationType
}{
	{"Queue", "queue_id", def.Path}, {"Group", "group_id", def.Path}, {"Key", "key", def.Path},
	{"DeadLetter", "include_deadletter", def.Query}, {"Max", "max_msgs", def.Query}, {"Wait", "time_wait", def.Query},
	{"AckWait", "ack_wait", def.Query}, {"Tag", "tag", def.Query}, {"TagType", "tag_type", def.Query},
	{"Body", "body", def.Body},
}

type response[T any] struct {
	Body           *T
	HttpStatusCode int
}

// huawei is the vendor's core with a version of the queue paths.
type huawei struct {
	t       *testing.T
	version string
	*core.HcHttpClient
}

func newHuawei(t *testing.T, a account, version, secret string) huawei {
	credentials, err := basic.NewCredentialsBuilder().WithAk(a.access).WithSk(secret).WithProjectId(project).SafeBuild()
	require.NoError(t, err)
	http := config.DefaultHttpConfig().WithTimeout(time.Minute)
	client, err := core.NewHcHttpClientBuilder().WithEndpoints([]string{a.url}).WithCredential(credentials).WithHttpConfig(http).SafeBuild()
	require.NoError(t, err)
	return huawei{t, version, client}
}

func try[T any](c huawei, status int, method, path string, r request) (*response[T], error) {
	d := def.NewHttpRequestDefBuilder().WithMethod(method).WithPath("/" + c.version + "/{project_id}" + path).
		WithContentType("application/json").WithResponse(new(response[T]))
	for _, l := range locations {
		d.WithRequestField(def.NewFieldDef().WithName(l.name).WithJsonTag(l.tag).WithLocationType(l.at))
	}
	if status != http.StatusNoContent {
		d.WithResponseField(def.NewFieldDef().WithName("Body").WithLocationType(def.Body))
	}
	answer, err := c.Sync(&r, d.Build())
	if err != nil {
		return nil, err
	}
	return answer.(*response[T]), nil
}

func ask[T any](c huawei, status int, method, path string, r request) T {
	c.t.Helper()
	answer, err := try[T](c, status, method, path, r)
	require.NoError(c.t, err, "%s %s", method, path)
	require.Equal(c.t, status, answer.HttpStatusCode, "%s %s", method, path)
	if answer.Body == nil {
		return *new(T)
	}
	return *answer.Body
}

// refused checks that the client understands a refusal.
func (c huawei) refused(status int, code, method, path string, r request) {
	c.t.Helper()
	_, err := try[any](c, status, method, path, r)
	var e *sdkerr.ServiceResponseError
	require.ErrorAs(c.t, err, &e, "%s %s", method, path)
	require.Equal(c.t, status, e.StatusCode, "%v", e)
	require.Equal(c.t, code, e.ErrorCode)
	require.NotEmpty(c.t, e.ErrorMessage)
	require.NotEmpty(c.t, e.RequestId)
}

func ptr[T any](v T) *T { return &v }

func body(v any) *any { return &v }

// TestHuaweiCloudSDKGo drives both versions of the queue paths with the core of the vendor's SDK: its signatures (host is not
// among what they cover), its JSON, its errors.
func TestHuaweiCloudSDKGo(t *testing.T) {
	a := newAccount(t)
	for _, version := range []string{"v1.0", "v2"} {
		c := newHuawei(t, a, version, a.secret)
		id := huaweiQueues(c)
		huaweiMessages(c, id)
		huaweiTags(c, id)
		ask[any](c, 204, "DELETE", "/queues/{queue_id}", request{Queue: &id})
		c.refused(404, "DMS.10240401", "GET", "/queues/{queue_id}", request{Queue: &id})
		require.Zero(t, ask[queueList](c, 200, "GET", "/queues", request{}).Total)
		other := newHuawei(t, a, version, a.secret+"x")
		_, err := try[queueList](other, 200, "GET", "/queues", request{})
		var e *sdkerr.ServiceResponseError
		require.ErrorAs(t, err, &e)
		require.Equal(t, 401, e.StatusCode, "another secret")
	}
	passed(t, "huaweicloud-sdk-go-v3 0.1.207")
}

func huaweiQueues(c huawei) string {
	made := ask[queue](c, 201, "POST", "/queues", request{Body: body(map[string]any{"name": "orders", "queue_mode": "NORMAL", "description": "orders & more, ü"})})
	c.refused(400, "DMS.10240017", "POST", "/queues", request{Body: body(map[string]any{"name": "orders"})})
	c.refused(400, "DMS.10240015", "GET", "/queues/{queue_id}", request{Queue: ptr("orders")})
	shown := ask[queue](c, 200, "GET", "/queues/{queue_id}", request{Queue: &made.ID, DeadLetter: ptr(true)})
	require.Equal(c.t, "orders", shown.Name)
	require.Equal(c.t, 524288, shown.MaxBytes)
	require.Equal(c.t, 4320, shown.Reservation)
	list := ask[queueList](c, 200, "GET", "/queues", request{DeadLetter: ptr(false)})
	require.Equal(c.t, 1, list.Total)
	require.Equal(c.t, made.ID, list.Queues[0].ID)
	quotas := "/quotas"
	if c.version == "v1.0" {
		quotas = "/quotas/dms"
	}
	ask[map[string]any](c, 200, "GET", quotas, request{})
	return made.ID
}

func huaweiMessages(c huawei, id string) {
	groups := ask[groupList](c, 201, "POST", "/queues/{queue_id}/groups", request{Queue: &id, Body: body(map[string]any{"groups": []map[string]string{{"name": "billing"}, {"name": "labelled"}}})})
	require.Len(c.t, groups.Groups, 2)
	billing, labelled := groups.Groups[0].ID, groups.Groups[1].ID
	returnID, delay := "return_id", "delay_time"
	if c.version == "v1.0" {
		returnID, delay = "returnId", "delayTime"
	}
	sent := ask[sendAnswer](c, 201, "POST", "/queues/{queue_id}/messages", request{Queue: &id, Body: body(map[string]any{returnID: true, "messages": []map[string]any{
		{"body": "plain & <text>", "attributes": map[string]any{"source": "web", "retry": 1}, "tags": []string{"eu", "vip"}, delay: 500},
		{"body": map[string]any{"orderId": 42}, "tags": []string{"us"}},
	}})})
	require.Len(c.t, sent.Messages, 2)
	require.NotEmpty(c.t, sent.Messages[0].ID)

	consume := func(group string, more request) (got []delivery) {
		more.Queue, more.Group, more.Wait = &id, &group, ptr(int32(2))
		return ask[[]delivery](c, 200, "GET", "/queues/{queue_id}/groups/{group_id}/messages", more)
	}
	ack := func(group, status string, ds []delivery) ackAnswer {
		return ask[ackAnswer](c, 200, "POST", "/queues/{queue_id}/groups/{group_id}/ack", request{Queue: &id, Group: &group, Body: body(acks(ds, status))})
	}
	seen := map[string]int{}
	for range 6 {
		got := consume(billing, request{Max: ptr(int32(10)), AckWait: ptr(int32(15))})
		for _, d := range got {
			if text, ok := d.Message.Body.(string); ok {
				require.Equal(c.t, "plain & <text>", text)
				require.Equal(c.t, map[string]any{"source": "web", "retry": float64(1)}, d.Message.Attributes)
				seen[text]++
			} else {
				require.Equal(c.t, map[string]any{"orderId": float64(42)}, d.Message.Body)
				seen["object"]++
			}
		}
		if len(got) > 0 {
			require.Equal(c.t, ackAnswer{Success: len(got)}, ack(billing, "success", got))
			c.refused(400, "DMS.10542209", "POST", "/queues/{queue_id}/groups/{group_id}/ack", request{Queue: &id, Group: &billing, Body: body(acks(got[:1], "success"))})
		}
		if len(seen) == 2 {
			break
		}
	}
	require.Equal(c.t, map[string]int{"plain & <text>": 1, "object": 1}, seen)
	got := consume(labelled, request{Tag: &[]string{"vip", "eu"}, TagType: ptr("and")})
	require.Len(c.t, got, 1, "with both labels")
	require.Equal(c.t, ackAnswer{Fail: 1}, ack(labelled, "fail", got))
	got = consume(labelled, request{Tag: &[]string{"eu", "vip"}, TagType: ptr("and")})
	require.Len(c.t, got, 1, "again")
	require.Equal(c.t, ackAnswer{Success: 1}, ack(labelled, "success", got))
	c.refused(400, "DMS.10240014", "GET", "/queues/{queue_id}/groups/{group_id}/messages", request{Queue: &id, Group: &billing, Max: ptr(int32(11))})

	dead := ask[[]delivery](c, 200, "GET", "/queues/{queue_id}/groups/{group_id}/deadletters", request{Queue: &id, Group: &billing, Wait: ptr(int32(1))})
	require.Empty(c.t, dead)
	list := ask[groupList](c, 200, "GET", "/queues/{queue_id}/groups", request{Queue: &id, DeadLetter: ptr(true)})
	require.Equal(c.t, 2, list.Groups[0].Consumed)
	ask[any](c, 204, "DELETE", "/queues/{queue_id}/groups/{group_id}", request{Queue: &id, Group: &billing})
}

func huaweiTags(c huawei, id string) {
	pairs := []map[string]string{{"key": "env", "value": "prod"}, {"key": "a team", "value": "ü"}}
	ask[any](c, 204, "POST", "/queue/{queue_id}/tags/action", request{Queue: &id, Body: body(map[string]any{"action": "create", "tags": pairs})})
	got := ask[map[string][]map[string]string](c, 200, "GET", "/queue/{queue_id}/tags", request{Queue: &id})
	require.ElementsMatch(c.t, pairs, got["tags"])
	ask[any](c, 204, "DELETE", "/queue/{queue_id}/tags/{key}", request{Queue: &id, Key: ptr("a team")})
	c.refused(404, "DMS.10240426", "DELETE", "/queue/{queue_id}/tags/{key}", request{Queue: &id, Key: ptr("a team")})
	found := ask[map[string]any](c, 200, "POST", "/queue/resource_instances/action", request{Body: body(map[string]any{"action": "count", "tags": []map[string]any{{"key": "env", "values": []string{"prod"}}}})})
	require.EqualValues(c.t, 1, found["total_count"])
}
