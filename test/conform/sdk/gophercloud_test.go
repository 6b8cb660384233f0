package sdk

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// dms is a client of the service of a type in the catalog, and a test's way to call it.
type dms struct {
	t *testing.T
	*gophercloud.ServiceClient
}

func (c dms) call(method, path string, in, out any, status int) {
	c.t.Helper()
	o := &gophercloud.RequestOpts{JSONBody: in, JSONResponse: out, OkCodes: []int{status}}
	resp, err := c.Request(harness.Context(c.t), method, c.ServiceURL(strings.Split(path, "/")...), o)
	require.NoError(c.t, err, "%s %s", method, path)
	if out == nil {
		require.NoError(c.t, resp.Body.Close())
	}
}

// openStack logs in with a password and finds the service of a type in the catalog.
func openStack(t *testing.T, ctx context.Context, a account, kind string) (*gophercloud.ProviderClient, dms) {
	provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: a.url + "/v3", Username: a.user, Password: a.password, DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectID: project}, AllowReauth: true,
	})
	require.NoError(t, err)
	eo := gophercloud.EndpointOpts{Type: kind, Region: "local", Availability: gophercloud.AvailabilityPublic}
	eo.ApplyDefaults(kind)
	base, err := provider.EndpointLocator(eo)
	require.NoError(t, err)
	if !strings.Contains(base, project) {
		base += project + "/"
	}
	return provider, dms{t, &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: base, Type: kind}}
}

// TestGophercloud logs in, finds each type that clients look up, and drives the queue paths with a token; a token that
// ended is replaced by the client without a word.
func TestGophercloud(t *testing.T) {
	a := newAccount(t)
	ctx := harness.Context(t)
	_, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: a.url + "/v3", Username: a.user, Password: "another password", DomainName: "Default"})
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusUnauthorized), "a wrong password: %v", err)

	for _, kind := range []string{"dms", "dmsv1", "dmsv2"} {
		provider, c := openStack(t, ctx, a, kind)
		quotas := "quotas/dms"
		if kind == "dmsv2" {
			quotas = "quotas"
		}
		var quota struct {
			Quotas struct {
				Resources []struct {
					Type        string
					Quota, Used int
				}
			}
		}
		c.call("GET", quotas, nil, &quota, 200)
		require.Len(t, quota.Quotas.Resources, 1)
		require.Equal(t, "queue", quota.Quotas.Resources[0].Type)
		require.Zero(t, quota.Quotas.Resources[0].Used)
		everyCall(t, c)

		revoke, err := http.NewRequestWithContext(ctx, "DELETE", a.url+"/v3/auth/tokens", nil)
		require.NoError(t, err)
		first := provider.Token()
		revoke.Header.Set("X-Auth-Token", first)
		revoke.Header.Set("X-Subject-Token", first)
		resp, err := http.DefaultClient.Do(revoke)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 204, resp.StatusCode)
		c.call("GET", "queues", nil, &queueList{}, 200)
		require.NotEqual(t, first, provider.Token(), "the client has logged in again")
	}
	passed(t, "gophercloud 2.15.0")
}

// everyCall uses every call on queues once, from none to none.
func everyCall(t *testing.T, c dms) {
	var made queue
	c.call("POST", "queues", map[string]any{"name": "orders", "queue_mode": "FIFO", "redrive_policy": "enable", "max_consume_count": 1}, &made, 201)
	at := "queues/" + made.ID
	var shown queue
	c.call("GET", at, nil, &shown, 200)
	require.Equal(t, "orders", shown.Name)
	require.Equal(t, "FIFO", shown.Mode)
	var list queueList
	c.call("GET", "queues", nil, &list, 200)
	require.Equal(t, 1, list.Total)

	var groups groupList
	c.call("POST", at+"/groups", map[string]any{"groups": []any{map[string]any{"name": "billing"}}}, &groups, 201)
	group := at + "/groups/" + groups.Groups[0].ID
	c.call("POST", at+"/messages", map[string]any{"messages": []any{map[string]any{"body": "one"}, map[string]any{"body": map[string]any{"two": "zwei"}}}}, &sendAnswer{}, 201)
	var got []delivery
	c.call("GET", group+"/messages?time_wait=1", nil, &got, 200)
	require.Len(t, got, 2)
	require.Equal(t, "one", got[0].Message.Body)
	require.Equal(t, map[string]any{"two": "zwei"}, got[1].Message.Body)
	var acked ackAnswer
	c.call("POST", group+"/ack", acks(got[:1], "success"), &acked, 200)
	require.Equal(t, ackAnswer{Success: 1}, acked)
	c.call("POST", group+"/ack", acks(got[1:], "fail"), &acked, 200)
	require.Equal(t, ackAnswer{Fail: 1}, acked)
	var dead []delivery
	c.call("GET", group+"/deadletters?time_wait=5", nil, &dead, 200)
	require.Len(t, dead, 1)
	require.Equal(t, got[1].Message.Body, dead[0].Message.Body)
	c.call("POST", group+"/deadletters/ack", acks(dead, "success"), &acked, 200)
	require.Equal(t, ackAnswer{Success: 1}, acked)
	c.call("GET", at+"/groups?include_deadletter=true", nil, &groups, 200)
	require.Equal(t, 2, groups.Groups[0].Consumed)

	tags := "queue/" + made.ID + "/tags"
	pair := func(action, key string) map[string]any {
		return map[string]any{"action": action, "tags": []any{map[string]any{"key": key, "value": "v"}}}
	}
	c.call("POST", tags, map[string]any{"tag": map[string]any{"key": "env", "value": "prod"}}, nil, 204)
	c.call("POST", tags+"/action", pair("create", "team"), nil, 204)
	c.call("GET", tags, nil, &map[string]any{}, 200)
	c.call("GET", "queue/tags", nil, &map[string]any{}, 200)
	var count struct {
		Total int `json:"total_count"`
	}
	c.call("POST", "queue/resource_instances/action", map[string]any{"action": "count", "tags": []any{map[string]any{"key": "env", "values": []string{"prod"}}}}, &count, 200)
	require.Equal(t, 1, count.Total)
	c.call("DELETE", tags+"/team", nil, nil, 204)

	c.call("DELETE", group, nil, nil, 204)
	c.call("DELETE", at, nil, nil, 204)
	_, err := c.Get(harness.Context(t), c.ServiceURL("queues", made.ID), nil, nil)
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "%v", err)
}
