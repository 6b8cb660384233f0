package identity

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutUsersOnLoopbackAnythingGoes(t *testing.T) {
	plain := func() *http.Request { return sentTo("localhost:9080", "GET", queues) }
	withToken := plain()
	withToken.Header.Set("X-Auth-Token", "whatever")
	foreign := sentTo("localhost:9080", "POST", queues)
	foreign.Header.Set("Origin", "http://evil.example.test")

	signed := defaultClient(formatAccess).get(queues)
	signed.Host = "localhost:9080"

	w := newWorld(t)
	for _, r := range []*http.Request{plain(), withToken, signed} {
		caller, refused := w.Authenticate(r, nil)
		require.Nil(t, refused)
		require.Equal(t, Caller{Any: true}, caller)
		require.Nil(t, caller.Admits("any-project"))
	}
	image := plain()
	image.Header.Set("Sec-Fetch-Site", "cross-site")
	for _, r := range []*http.Request{foreign, image} {
		_, refused := w.Authenticate(r, nil)
		require.NotNil(t, refused, "a page of another origin in a browser on this machine")
		require.Equal(t, 403, refused.Status)
		require.Contains(t, refused.Message, "origin")
	}
	for _, path := range []string{"/v3/projects", "/v3/users"} {
		require.Equal(t, 200, w.do(t, sentTo("localhost:9080", "GET", path)).Code)
	}

	_, err := w.CreateUser(t.Context(), NewUser{Name: "first", Password: "12345678"})
	require.NoError(t, err)
	for code, r := range map[int]*http.Request{CodeTokenMissing: plain(), CodeTokenInvalid: withToken} {
		_, refused := w.Authenticate(r, nil)
		require.NotNil(t, refused)
		require.Equal(t, code, refused.Code)
		require.Equal(t, 401, refused.Status)
	}
	require.NoError(t, w.DeleteUser(t.Context(), "first"))
	_, refused := w.Authenticate(plain(), nil)
	require.Nil(t, refused)
}

// sentTo is a request to a host.
func sentTo(host, method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	return r
}

func TestInOpenModeNoHostNameOfSomebodyElseIsTheListener(t *testing.T) {
	for host, ok := range map[string]bool{
		"127.0.0.1:9080": true, "127.0.0.1": true, "[::1]:9080": true, "[::1]": true, "localhost:9080": true, "LocalHost": true, "": true,
		"queues.example.test:9080": true, "queues.example.test": true, "Queues.Example.Test": true, // of PublicURL
		"evil.example.test:9080": false, "evil.example.test": false, "localhost.evil.example.test": false, "127.0.0.1.evil.example.test:9080": false,
		"xqueues.example.test": false, "127.0.0.1@evil.example.test": false,
	} {
		for _, method := range []string{"GET", "POST"} {
			w := newWorld(t)
			_, refused := w.Authenticate(sentTo(host, method, queues), nil)
			require.Equal(t, ok, refused == nil, "%s to %q", method, host)
			if !ok {
				require.Equal(t, http.StatusForbidden, refused.Status)
				require.Equal(t, CodeDenied, refused.Code)
				require.Equal(t, 403, w.do(t, sentTo(host, "GET", "/v3/users")).Code, "the directory of users")
			}
			w = newWorld(t, func(o *Options) { o.Loopback, o.Insecure = false, true })
			_, refused = w.Authenticate(sentTo(host, method, queues), nil)
			require.Nil(t, refused, "beyond this machine, with --insecure, names are not known")
		}
	}
}

func TestOpenModeBeyondLoopbackHasToBeSaid(t *testing.T) {
	set := func(loopback, insecure bool) func(*Options) {
		return func(o *Options) { o.Loopback, o.Insecure = loopback, insecure }
	}
	for _, c := range []struct{ loopback, insecure, users, ok, open bool }{
		{true, false, false, true, true},
		{false, false, false, false, false},
		{false, true, false, true, true},
		{false, false, true, true, false},
		{false, true, true, true, false},
	} {
		w := newWorld(t, set(c.loopback, c.insecure))
		if c.users {
			_, err := w.CreateUser(t.Context(), NewUser{Name: "first", Password: "12345678"})
			require.NoError(t, err)
		}
		err := w.Acceptable(t.Context())
		if c.ok {
			require.NoError(t, err, "%+v", c)
		} else {
			require.ErrorIs(t, err, ErrOpen, "%+v", c)
		}
		_, refused := w.Authenticate(sentTo("localhost", "GET", queues), nil)
		require.Equal(t, c.open, refused == nil, "%+v", c)
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "127.8.8.8": true, "::1": true, "[::1]": true, "localhost": true, "": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "example.test": false, "::ffff:127.0.0.1": true} {
		require.Equal(t, want, IsLoopback(host), host)
	}
}

func TestABrokerThatCanNotAnswerLetsNobodyIn(t *testing.T) {
	for name, w := range map[string]*world{"open mode": newWorld(t), "with users": populated(t)} {
		token := ""
		if name == "with users" {
			token = w.token(t, "alice", "")
		}
		w.broker.down = true
		for _, r := range []*http.Request{httptest.NewRequest("GET", queues, nil), defaultClient(formatAccess).get(queues)} {
			if token != "" {
				r.Header.Set("X-Auth-Token", token)
			}
			_, refused := w.Authenticate(r, nil)
			require.NotNil(t, refused, name)
			require.Equal(t, http.StatusServiceUnavailable, refused.Status, name)
			require.ErrorIs(t, refused, errDown)
		}
		require.ErrorIs(t, w.another(func(o *Options) { o.Loopback = false }).Acceptable(t.Context()), errDown)
	}
}

// adminRequest is one to the administration, from somewhere to somewhere.
func adminRequest(method, path, body, from, host string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host = from, host
	return r
}

func TestTheFirstUserIsCreatedFromTheBrokersOwnMachine(t *testing.T) {
	const body = `{"name":"first","password":"12345678"}`
	for name, c := range map[string]struct {
		alter  func(*http.Request)
		status int
	}{
		"loopback":      {func(*http.Request) {}, 201},
		"IPv6":          {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5", "[::1]:9080" }, 201},
		"by name":       {func(r *http.Request) { r.Host = "localhost:9080" }, 201},
		"its address":   {func(r *http.Request) { r.RemoteAddr, r.Host = "192.0.2.9:5", "192.0.2.9:9080" }, 201},
		"elsewhere":     {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, 403},
		"proxy":         {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 403},
		"rebound name":  {func(r *http.Request) { r.Host = "evil.example.test" }, 403},
		"foreign page":  {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"foreign page2": {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example.test") }, 403},
		"no address":    {func(r *http.Request) { r.RemoteAddr = "" }, 403},
	} {
		request := func() *http.Request {
			r := arrived(adminRequest("POST", "/admin/v1/users", body, "127.0.0.1:5", "127.0.0.1:9080"), "192.0.2.9")
			c.alter(r)
			return r
		}
		for _, loopback := range []bool{true, false} {
			w := newWorld(t, func(o *Options) { o.Loopback, o.Insecure = loopback, !loopback })
			a := w.do(t, request())
			require.Equal(t, c.status, a.Code, "%s: %s", name, a.Body)
			if a.Code == 201 {
				require.Equal(t, "admin", a.at(t, "roles", 0))
				require.Equal(t, 401, w.do(t, request()).Code, "then it is over")
			}
		}
	}
}

func arrived(r *http.Request, ip string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(ip), Port: 9080}))
}

func TestTheAdministrationNeedsAnAdministrator(t *testing.T) {
	w := populated(t)
	root, alice := w.token(t, "root", ""), w.token(t, "alice", "")
	for _, path := range []string{"projects", "users", "access-keys"} {
		require.Equal(t, 401, w.do(t, adminRequest("GET", "/admin/v1/"+path, "", "127.0.0.1:1", "127.0.0.1:9080")).Code)
		require.Equal(t, 403, w.call(t, "GET", "/admin/v1/"+path, alice, "").Code)
		require.Equal(t, 403, w.do(t, defaultClient(formatAccess).get("/admin/v1/"+path)).Code, "an access key sees its project alone")
		require.Equal(t, 200, w.call(t, "GET", "/admin/v1/"+path, root, "").Code)
	}
	w.addKey(t, "root", otherProject, "ROOTSKEY", "ROOTSSECRET")
	c := defaultClient(formatAccess)
	c.access, c.secret = "ROOTSKEY", "ROOTSSECRET"
	require.Equal(t, 403, w.do(t, c.get("/admin/v1/users")).Code, "also an administrator's")
}

func TestTheAdministrationOverHTTP(t *testing.T) {
	w := populated(t)
	root := w.token(t, "root", "")
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "projects", `{"name":"new","description":"d"}`, 201, `"name":"new"`},
		{"POST", "projects", `{"name":"new"}`, 409, "exists already"},
		{"POST", "projects", `{"name":"a b"}`, 400, "letters, digits"},
		{"POST", "projects", `[]`, 400, "not the JSON"},
		{"GET", "projects/new", "", 200, `"description":"d"`},
		{"GET", "projects/nothing", "", 404, "not found"},
		{"POST", "users", `{"name":"carol","password":"carol's password","projects":["new"]}`, 201, `"roles":["member"]`},
		{"GET", "users/carol", "", 200, `"name":"carol"`},
		{"DELETE", "projects/new", "", 409, "by user carol"},
		{"POST", "access-keys", `{"user":"carol"}`, 201, `"secret":"`},
		{"GET", "access-keys?user=carol", "", 200, `"user":"carol"`},
		{"GET", "access-keys?user=dave", "", 404, "user dave"},
		{"POST", "access-keys", `{"user":"carol","project":"local"}`, 403, "not one of user"},
		{"PATCH", "users/carol", `{"projects":["local"]}`, 200, testProject},
		{"PATCH", "users/carol", `{"roles":["king"]}`, 400, "king"},
		{"PATCH", "users/carol", `{"password":"short"}`, 400, "password"},
		{"DELETE", "users/root", "", 409, "only administrator"},
		{"DELETE", "users/carol", "", 204, ""},
		{"DELETE", "projects/new", "", 204, ""},
		{"DELETE", "access-keys/" + testAccess, "", 204, ""},
		{"DELETE", "access-keys/" + testAccess, "", 404, "access key"},
		{"PUT", "users/carol", "", 405, ""},
	} {
		a := w.call(t, step.method, "/admin/v1/"+step.path, root, step.body)
		require.Equal(t, step.status, a.Code, "%+v: %s", step, a.Body)
		require.Contains(t, a.Body.String(), step.want)
		require.NotContains(t, a.Body.String(), "argon2", "no hash leaves")
		require.NotContains(t, a.Body.String(), "sealed")
	}
}
