package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// answer is what the handler said; Body is its JSON.
type answer struct {
	*httptest.ResponseRecorder
	JSON map[string]any
}

// at digs into the JSON: numbers index lists.
func (a answer) at(t *testing.T, path ...any) any {
	t.Helper()
	var v any = a.JSON
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			require.True(t, ok, "%v in %s", path, a.Body)
			v = m[p]
		case int:
			l, ok := v.([]any)
			require.True(t, ok && p < len(l), "%v in %s", path, a.Body)
			v = l[p]
		}
	}
	return v
}

func (w *world) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	w.Handler().ServeHTTP(a, r)
	if a.Body.Len() > 0 {
		require.Equal(t, "application/json", a.Header().Get("Content-Type"))
		require.NoError(t, json.Unmarshal(a.Body.Bytes(), &a.JSON), a.Body.String())
	}
	return a
}

func (w *world) call(t *testing.T, method, path, token, body string) answer {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	return w.do(t, r)
}

// logIn gives a token; scope is the JSON of a scope, "" for none.
func (w *world) token(t *testing.T, name, scope string) string {
	t.Helper()
	a := w.call(t, "POST", "/v3/auth/tokens", "", loginBody(name, name+"'s password", scope))
	require.Equal(t, http.StatusCreated, a.Code, a.Body.String())
	return a.Header().Get("X-Subject-Token")
}

func loginBody(name, password, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"` + name + `","password":"` + password + `"}}}` + scope + `}}`
}

func TestALogInAsTheReferenceShowsIt(t *testing.T) {
	w := populated(t)
	a := w.call(t, "POST", "/v3/auth/tokens", "", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"bob","password":"bob's password","domain":{"name":"acme"}}}},
         "scope":{"project":{"name":"other"}}}}`)
	require.Equal(t, http.StatusCreated, a.Code)
	token := a.Header().Get("X-Subject-Token")
	require.NotEmpty(t, token)
	require.Less(t, len(token), 256)
	require.Equal(t, []any{"password"}, a.at(t, "token", "methods"))
	require.Equal(t, "2030-01-02T03:04:05.000000Z", a.at(t, "token", "issued_at"))
	require.Equal(t, "2030-01-03T03:04:05.000000Z", a.at(t, "token", "expires_at"))
	require.Equal(t, "bob", a.at(t, "token", "user", "name"))
	require.Equal(t, "acme", a.at(t, "token", "user", "domain", "name"))
	require.Equal(t, otherProject, a.at(t, "token", "project", "id"))
	require.Equal(t, "other", a.at(t, "token", "project", "name"))
	require.Equal(t, "member", a.at(t, "token", "roles", 0, "name"))
	urls := map[any]any{}
	for i := range a.at(t, "token", "catalog").([]any) {
		urls[a.at(t, "token", "catalog", i, "type")] = a.at(t, "token", "catalog", i, "endpoints", 0, "url")
		require.Equal(t, "public", a.at(t, "token", "catalog", i, "endpoints", 0, "interface"))
		require.Equal(t, "eu-de", a.at(t, "token", "catalog", i, "endpoints", 0, "region"))
	}
	const base = "http://queues.example.test:9080"
	require.Equal(t, map[any]any{"identity": base + "/v3", "dms": base + "/v1.0", "dmsv1": base + "/v1.0/" + otherProject, "dmsv2": base + "/v2/" + otherProject}, urls)

	r := httptest.NewRequest("GET", "/v1.0/"+otherProject+"/queues", nil)
	r.Header.Set("X-Auth-Token", token)
	caller, refused := w.Authenticate(r, nil)
	require.Nil(t, refused)
	require.Equal(t, Caller{Project: otherProject, Name: "bob"}, caller)
	require.Nil(t, caller.Admits(otherProject))
	require.Equal(t, CodeOtherProject, caller.Admits(testProject).Code)
}

func TestScopes(t *testing.T) {
	for name, c := range map[string]struct {
		user, scope string
		status      int
		project     any // id; nil: none
	}{
		"none: the user's project":    {"alice", ``, 201, testProject},
		"null":                        {"alice", `null`, 201, testProject},
		"by name":                     {"alice", `{"project":{"name":"local"}}`, 201, testProject},
		"by id":                       {"alice", `{"project":{"id":"` + testProject + `"}}`, 201, testProject},
		"by name and default domain":  {"alice", `{"project":{"name":"local","domain":{"id":"default"}}}`, 201, testProject},
		"by name and domain":          {"bob", `{"project":{"name":"other","domain":{"name":"ACME"}}}`, 201, otherProject},
		"wrong domain":                {"bob", `{"project":{"name":"other","domain":{"name":"Default"}}}`, 401, nil},
		"project of somebody else":    {"alice", `{"project":{"name":"other"}}`, 401, nil},
		"unknown project":             {"alice", `{"project":{"name":"nowhere"}}`, 401, nil},
		"administrator, any project":  {"root", `{"project":{"name":"other"}}`, 201, otherProject},
		"administrator without":       {"root", ``, 201, nil},
		"unscoped":                    {"alice", `{"unscoped":{}}`, 201, nil},
		"unscoped, as a word":         {"alice", `"unscoped"`, 201, nil},
		"domain":                      {"alice", `{"domain":{"name":"default"}}`, 201, nil},
		"other domain":                {"alice", `{"domain":{"name":"acme"}}`, 401, nil},
		"project without id and name": {"alice", `{"project":{}}`, 400, nil},
		"scope of another type":       {"alice", `7`, 400, nil},
		"domain without id and name":  {"alice", `{"domain":{}}`, 401, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := populated(t).call(t, "POST", "/v3/auth/tokens", "", loginBody(c.user, c.user+"'s password", c.scope))
			require.Equal(t, c.status, a.Code, a.Body.String())
			if c.status != 201 {
				require.Equal(t, float64(c.status), a.at(t, "error", "code"))
				require.NotEmpty(t, a.at(t, "error_msg"))
				return
			}
			if c.project == nil {
				require.Nil(t, a.at(t, "token", "project"))
				return
			}
			require.Equal(t, c.project, a.at(t, "token", "project", "id"))
		})
	}
}

func TestRefusedLogIns(t *testing.T) {
	w := populated(t)
	alice, err := w.User(context.Background(), "alice")
	require.NoError(t, err)
	user := func(fields string) string {
		return `{"auth":{"identity":{"methods":["password"],"password":{"user":{` + fields + `}}}}}`
	}
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"by id":           {user(`"id":"` + alice.ID + `","password":"alice's password"`), 201},
		"id and name":     {user(`"id":"` + alice.ID + `","name":"alice","password":"alice's password"`), 201},
		"domain id":       {user(`"name":"alice","domain":{"id":"default"},"password":"alice's password"`), 201},
		"wrong password":  {user(`"name":"alice","password":"alice's passwore"`), 401},
		"no password":     {user(`"name":"alice"`), 401},
		"unknown user":    {user(`"name":"nobody","password":"alice's password"`), 401},
		"impossible name": {user(`"name":"a/b c","password":"alice's password"`), 401},
		"wrong domain":    {user(`"name":"alice","domain":{"name":"acme"},"password":"alice's password"`), 401},
		"other id":        {user(`"id":"` + otherProject + `","name":"alice","password":"alice's password"`), 401},
		"long password":   {user(`"name":"alice","password":"` + strings.Repeat("x", 1000) + `"`), 401},
		"no name":         {user(`"password":"x"`), 400},
		"not JSON":        {`{"auth":`, 400},
		"wrong types":     {`{"auth":{"identity":{"methods":"password"}}}`, 400},
		"no methods":      {`{"auth":{"identity":{}}}`, 400},
		"two methods":     {`{"auth":{"identity":{"methods":["password","totp"]}}}`, 401},
		"unknown method":  {`{"auth":{"identity":{"methods":["hw_ak_sk"]}}}`, 401},
		"forged token":    {`{"auth":{"identity":{"methods":["token"],"token":{"id":"abc"}}}}`, 401},
		"deep":            {strings.Repeat(`{"a":`, 12000), 400},
		"too large":       {`{"a":"` + strings.Repeat("x", maxBody) + `"}`, 413},
	} {
		a := w.call(t, "POST", "/v3/auth/tokens", "", c.body)
		require.Equal(t, c.status, a.Code, "%s: %s", name, a.Body)
		if c.status == 401 {
			require.Contains(t, a.Header().Get("WWW-Authenticate"), "Keystone uri=")
		}
	}
}

func TestTokensAreCheckedAndRevoked(t *testing.T) {
	w := populated(t)
	alice, bob, root := w.token(t, "alice", ""), w.token(t, "bob", ""), w.token(t, "root", "")
	subject := func(method, own, subject, query string) answer {
		r := httptest.NewRequest(method, "/v3/auth/tokens"+query, nil)
		r.Header.Set("X-Auth-Token", own)
		if subject != "" {
			r.Header.Set("X-Subject-Token", subject)
		}
		return w.do(t, r)
	}
	a := subject("GET", alice, alice, "")
	require.Equal(t, 200, a.Code)
	require.Equal(t, alice, a.Header().Get("X-Subject-Token"))
	require.NotNil(t, a.at(t, "token", "catalog"))
	require.Nil(t, subject("GET", root, alice, "?nocatalog").at(t, "token", "catalog"))
	require.Equal(t, 200, subject("HEAD", root, alice, "").Code)
	require.Equal(t, 403, subject("GET", bob, alice, "").Code)
	require.Equal(t, 403, subject("DELETE", bob, alice, "").Code)
	require.Equal(t, 404, subject("GET", root, "nonsense", "").Code)
	require.Equal(t, 400, subject("GET", root, "", "").Code)
	require.Equal(t, 405, subject("PUT", root, "", "").Code)

	again := w.call(t, "POST", "/v3/auth/tokens", "", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+alice+`"}}}}`)
	require.Equal(t, 201, again.Code)
	rescoped := again.Header().Get("X-Subject-Token")
	require.Equal(t, []any{"password", "token"}, again.at(t, "token", "methods"))

	require.Equal(t, 204, subject("DELETE", alice, rescoped, "").Code)
	for _, token := range []string{alice, rescoped} {
		_, _, err := w.another().verifyToken(t.Context(), token, kindToken)
		require.ErrorIs(t, err, errTokenInvalid, "both, on every broker")
	}
	require.NotEqual(t, alice, w.token(t, "alice", ""))
	require.Equal(t, 200, subject("GET", root, w.token(t, "alice", ""), "").Code, "a new login is not touched")
}

func TestVersionsNeedNoCredentials(t *testing.T) {
	w := populated(t)
	for _, path := range []string{"/v3", "/v3/"} {
		a := w.call(t, "GET", path, "", "")
		require.Equal(t, 200, a.Code)
		require.Equal(t, "http://queues.example.test:9080/v3/", a.at(t, "version", "links", 0, "href"))
	}
	a := w.call(t, "GET", "/", "", "")
	require.Equal(t, 300, a.Code)
	require.Equal(t, "v3.14", a.at(t, "versions", "values", 0, "id"))
	require.Equal(t, 404, w.call(t, "GET", "/v3/nothing", "", "").Code)
	require.Equal(t, 401, w.call(t, "GET", "/v3/projects", "", "").Code)
}

func TestWithoutAURLAddressesAreWhereTheRequestArrived(t *testing.T) {
	for _, configured := range []string{"", "http://0.0.0.0:9080", "http://[::]:9080/"} {
		arrivedAt(t, newWorld(t, func(o *Options) { o.PublicURL = configured }))
	}
}

func arrivedAt(t *testing.T, w *world) {
	t.Helper()
	r := httptest.NewRequest("GET", "/v3", nil)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9080}))
	r.Host = "127.0.0.1" // openstack4j leaves the port out
	require.Equal(t, "http://127.0.0.1:9080/v3/", w.do(t, r).at(t, "version", "links", 0, "href"))
}

func TestTheDirectoryShowsWhatIsOnesOwn(t *testing.T) {
	w := populated(t)
	alice, root := w.token(t, "alice", ""), w.token(t, "root", "")
	count := func(token, path, list string) int {
		a := w.call(t, "GET", path, token, "")
		require.Equal(t, 200, a.Code, a.Body.String())
		return len(a.at(t, list).([]any))
	}
	require.Equal(t, 1, count(alice, "/v3/projects", "projects"))
	require.Equal(t, 1, count(alice, "/v3/projects?name=local", "projects"))
	require.Equal(t, 0, count(alice, "/v3/projects?name=other", "projects"))
	require.Equal(t, 2, count(root, "/v3/projects", "projects"))
	require.Equal(t, 1, count(root, "/v3/projects?name=other", "projects"))
	require.Equal(t, 0, count(root, "/v3/projects?enabled=false", "projects"))
	require.Equal(t, 1, count(alice, "/v3/auth/projects", "projects"))
	require.Equal(t, 1, count(alice, "/v3/auth/domains", "domains"))
	require.Equal(t, 1, count(alice, "/v3/auth/domains?name=default", "domains"))
	require.Equal(t, 0, count(alice, "/v3/auth/domains?name=acme", "domains"))
	require.Equal(t, 4, count(alice, "/v3/services", "services"))
	require.Equal(t, 1, count(alice, "/v3/services?type=dms", "services"))
	require.Equal(t, 0, count(alice, "/v3/services?name=x", "services"))
	dms := w.call(t, "GET", "/v3/services?type=dms", alice, "").at(t, "services", 0, "id").(string)
	require.Equal(t, "dms", w.call(t, "GET", "/v3/services/"+dms, alice, "").at(t, "service", "type"))
	require.Equal(t, 404, w.call(t, "GET", "/v3/services/x", alice, "").Code)
	require.Equal(t, 4, count(alice, "/v3/endpoints", "endpoints"))
	require.Equal(t, 2, count(root, "/v3/endpoints", "endpoints"), "without a project")
	require.Equal(t, 4, count(alice, "/v3/auth/catalog", "catalog"))
	require.Equal(t, 1, count(alice, "/v3/regions", "regions"))
	require.Equal(t, 1, count(alice, "/v3/users", "users"))
	require.Equal(t, 3, count(root, "/v3/users", "users"))
	require.Equal(t, 1, count(root, "/v3/users?name=bob", "users"))

	bob, err := w.User(t.Context(), "bob")
	require.NoError(t, err)
	require.Equal(t, 1, count(root, "/v3/users/"+bob.ID+"/projects", "projects"))
	require.Equal(t, "bob", w.call(t, "GET", "/v3/users/"+bob.ID, root, "").at(t, "user", "name"))
	require.Equal(t, 404, w.call(t, "GET", "/v3/users/"+bob.ID, alice, "").Code)
	require.Equal(t, "local", w.call(t, "GET", "/v3/projects/"+testProject, alice, "").at(t, "project", "name"))
	require.Equal(t, 404, w.call(t, "GET", "/v3/projects/"+otherProject, alice, "").Code)
}

func TestTheDirectoryAnswersSignedRequests(t *testing.T) {
	w := populated(t)
	for path, list := range map[string]string{"/v3/services": "services", "/v3/endpoints": "endpoints", "/v3/auth/catalog": "catalog", "/v3/auth/domains": "domains", "/v3/projects": "projects"} {
		c := defaultClient(formatCredential)
		c.kind = "keystone"
		a := w.do(t, c.get(path))
		require.Equal(t, 200, a.Code, a.Body.String())
		require.NotEmpty(t, a.at(t, list))
	}
	r := defaultClient(formatAccess).request("GET", "/v3/projects?name=local", "/v3/projects/", "name=local", "", hexSum(""), nil)
	require.Equal(t, testProject, w.do(t, r).at(t, "projects", 0, "id"))
}

func TestTemporaryKeys(t *testing.T) {
	w := populated(t)
	token := w.token(t, "alice", "")
	ask := func(token, seconds string) answer {
		return w.call(t, "POST", "/v3.0/OS-CREDENTIAL/securitytokens", "", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+token+`"`+seconds+`}}}}`)
	}
	a := ask(token, `,"duration_seconds":3600`)
	require.Equal(t, 201, a.Code, a.Body.String())
	get := func(name string) string { return a.at(t, "credential", name).(string) }
	require.Equal(t, "2030-01-02T04:04:05.000000Z", get("expires_at"))
	c := defaultClient(formatAccess)
	c.access, c.secret, c.token = get("access"), get("secret"), get("securitytoken")
	caller, refused := w.another().Authenticate(c.get(queues), nil)
	require.Nil(t, refused)
	require.Equal(t, Caller{Project: testProject, Name: "alice"}, caller)

	wrong := func(alter func(*client)) int {
		c := c
		alter(&c)
		_, refused := w.Authenticate(c.get(queues), nil)
		require.NotNil(t, refused)
		return refused.Code
	}
	require.Equal(t, CodeTokenInvalid, wrong(func(c *client) { c.token = "" }))
	require.Equal(t, CodeTokenInvalid, wrong(func(c *client) { c.token = token }), "a token is no security token")
	require.Equal(t, CodeTokenInvalid, wrong(func(c *client) { c.access = testAccess }))
	require.Equal(t, CodeTokenInvalid, wrong(func(c *client) { c.secret = testSecret }))
	r := httptest.NewRequest("GET", queues, nil)
	r.Header.Set("X-Auth-Token", c.token)
	_, refused = w.Authenticate(r, nil)
	require.Equal(t, CodeTokenInvalid, refused.Code, "a security token is no token")

	require.Equal(t, 400, ask(token, `,"duration_seconds":899`).Code)
	require.Equal(t, 400, ask(token, `,"duration_seconds":86401`).Code)
	require.Equal(t, 400, ask(w.token(t, "root", ""), "").Code, "for no project")
	require.Equal(t, 401, ask("nonsense", "").Code)

	c.date = "20300102T040405Z"
	w.clock.move(3600 * 1e9)
	require.Equal(t, CodeTokenExpired, wrong(func(*client) {}))
}

func TestARevokedTokenEndsItsTemporaryKeys(t *testing.T) {
	w := populated(t)
	claim, _, err := w.verifyToken(t.Context(), w.token(t, "alice", ""), kindToken)
	require.NoError(t, err)
	key, err := w.temporary(t.Context(), claim, minTemporary)
	require.NoError(t, err)
	require.NoError(t, w.revoke(t.Context(), claim))
	_, _, err = w.openTemporary(t.Context(), key.SecurityToken)
	require.ErrorIs(t, err, errTokenInvalid)
}

func FuzzIdentityBodies(f *testing.F) {
	f.Add("/v3/auth/tokens", []byte(loginBody("alice", "x", `{"project":{"name":"local","domain":{"id":"default"}}}`)))
	f.Add("/v3.0/OS-CREDENTIAL/securitytokens", []byte(`{"auth":{"identity":{"methods":["token"],"token":{"duration_seconds":1e99}}}}`))
	f.Add("/admin/v1/users", []byte(`{"name":"x","projects":[null]}`))
	w := populated(f)
	h := w.Handler()
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n\x00%?#") {
			return
		}
		r, err := http.NewRequest("POST", "http://127.0.0.1"+path, bytes.NewReader(body))
		if err != nil {
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		require.NotEqual(t, 500, rec.Code, rec.Body.String())
		require.NotEqual(t, 201, rec.Code, rec.Body.String())
		w.slow = newSlowdown()
	})
}
