package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	testHost = "dms.example.test"
	testDate = "20300102T030405Z"
	queues   = "/v1.0/" + testProject + "/queues"
)

// client signs requests in the ways that the clients of the reference do, written down here once more, from their side.
type client struct {
	access, secret string
	format         format
	region, kind   string // of the scope
	signed         []string
	date           string
	token          string // X-Security-Token
}

func defaultClient(f format) client {
	return client{access: testAccess, secret: testSecret, format: f, region: "eu-de", kind: "dms", signed: []string{"host", "x-sdk-date"}, date: testDate}
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// request makes a signed request. query and path of the canonical request are given as the client would write them.
func (c client) request(method, target, canonicalPath, canonicalQuery, body, payload string, header http.Header) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = testHost
	for k, v := range header {
		r.Header[k] = v
	}
	if c.token != "" {
		r.Header.Set("X-Security-Token", c.token)
	}
	r.Header.Set("X-Sdk-Date", c.date)
	lines := ""
	slices.Sort(c.signed)
	for _, name := range c.signed {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = "13"
		}
		lines += name + ":" + value + "\n"
	}
	canonical := strings.Join([]string{method, canonicalPath, canonicalQuery, lines, strings.Join(c.signed, ";"), payload}, "\n")
	r.Header.Set("Authorization", c.authorization(hexSum(canonical)))
	return r
}

func (c client) authorization(canonicalHash string) string {
	signed := ", SignedHeaders=" + strings.Join(c.signed, ";") + ", Signature="
	day := c.date[:8]
	switch c.format {
	case formatAccess:
		text := "SDK-HMAC-SHA256\n" + c.date + "\n" + canonicalHash
		return "SDK-HMAC-SHA256 Access=" + c.access + signed + hex.EncodeToString(sum([]byte(c.secret), text))
	case formatCredential:
		scope := day + "/" + c.region + "/" + c.kind + "/sdk_request"
		key := sum(sum(sum(sum([]byte("SDK"+c.secret), day), c.region), c.kind), "sdk_request")
		text := "SDK-HMAC-SHA256\n" + c.date + "\n" + scope + "\n" + canonicalHash
		return "SDK-HMAC-SHA256 Credential=" + c.access + "/" + scope + signed + hex.EncodeToString(sum(key, text))
	default:
		scope := day + "/" + c.region + "/" + c.kind
		key, _ := hkdf.Key(sha256.New, []byte(c.secret), []byte(c.access), scope, 32)
		text := "V11-HMAC-SHA256\n" + c.date + "\n" + scope + "\n" + canonicalHash
		return "V11-HMAC-SHA256 Credential=" + c.access + "/" + scope + signed + hex.EncodeToString(sum([]byte(hex.EncodeToString(key)), text))
	}
}

// get and post are plain requests.
func (c client) get(path string) *http.Request {
	return c.request("GET", path, path+"/", "", "", hexSum(""), nil)
}

func (c client) post(path, body string) *http.Request {
	return c.request("POST", path, path+"/", "", body, hexSum(body), nil)
}

func TestTheVectorsOfTheReference(t *testing.T) {
	for name, c := range map[string]struct {
		method, target, body, project string
		authorization, hash           string
	}{
		"A, GET": {"GET", queues + "?include_deadletter=true", "", testProject,
			"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-project-id;x-sdk-date, Signature=3d2a89f4d985a6452fb7e046fbfe60e9ad133cea0bae9bc9763875af0f1e548b",
			"f793663c33465f0588ea473470da2b4ffb24bc72119990543cb7890221b5356e"},
		"A, POST": {"POST", queues, `{"name":"q1"}`, "",
			"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-sdk-date, Signature=cfe8cca8da4fbd49ef9dfda9aa5d0d22c5d5d8c199f11fa32e54cc11226b665f",
			"98c53f704a781b57aee91e1e65f9a594b7c5db81782267ff68a00b705909467e"},
		"B, POST": {"POST", queues, `{"name":"q1"}`, "",
			"SDK-HMAC-SHA256 Credential=AKEXAMPLE/20300102/eu-de/dms/sdk_request, SignedHeaders=host;x-sdk-date, Signature=df6f7c2fbd449dd4dd58084da7500661de39b3f9830a71de0a31ff10772d3298",
			"98c53f704a781b57aee91e1e65f9a594b7c5db81782267ff68a00b705909467e"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			r.Host = testHost
			r.Header.Set("X-Sdk-Date", testDate)
			if c.project != "" {
				r.Header.Set("X-Project-Id", c.project)
			}
			r.Header.Set("Authorization", c.authorization)
			a, err := parseAuthorization(c.authorization)
			require.NoError(t, err)
			taken, err := newCanonical(r, []byte(c.body), a)
			require.NoError(t, err)
			require.Equal(t, c.hash, hashText(taken.appendTo(nil, variant{})))
			caller, refused := populated(t).Authenticate(r, []byte(c.body))
			require.Nil(t, refused)
			require.Equal(t, Caller{Project: testProject, Name: "alice"}, caller)
		})
	}
}

func TestSignaturesOfRealClients(t *testing.T) {
	const body = `{"name":"q1"}`
	jsonType := http.Header{"Content-Type": {"application/json"}}
	with := func(f format, alter func(*client)) client {
		c := defaultClient(f)
		alter(&c)
		return c
	}
	golangsdk := with(formatCredential, func(c *client) {
		c.region, c.kind, c.signed = "", "", []string{"accept", "host", "user-agent", "x-sdk-date"}
	})
	agent := http.Header{"Accept": {"application/json"}, "User-Agent": {"golangsdk/2.0.0"}}
	for name, c := range map[string]struct {
		r    *http.Request
		body string
	}{
		"Go SDK, no host": {with(formatAccess, func(c *client) { c.signed = []string{"user-agent", "x-project-id", "x-sdk-date"} }).
			request("GET", queues, queues+"/", "", "", hexSum(""), http.Header{"User-Agent": {"huaweicloud-usdk-go/3.0"}, "X-Project-Id": {testProject}}), ""},
		"Python SDK": {with(formatAccess, func(c *client) {
			c.signed = []string{"content-type", "host", "user-agent", "x-project-id", "x-sdk-date"}
		}).request("GET", queues, queues+"/", "", "", hexSum(""), http.Header{"Content-Type": {"application/json"}, "User-Agent": {"p"}, "X-Project-Id": {testProject}}), ""},
		"golangsdk, newline at the end": {golangsdk.request("POST", queues, queues+"/", "", body+"\n", hexSum(body+"\n"), agent), body + "\n"},
		"golangsdk, POST without body": {golangsdk.request("POST", queues+"?b=x+y&A=1&a=%2F", queues+"/", "", "",
			hexSum("A=1&a=%2F&b=x+y"), agent), ""},
		"golangsdk, keys without regard to case": {golangsdk.request("GET", queues+"?b=2&C=3&a=1", queues+"/", "a=1&b=2&C=3", "", hexSum(""), agent), ""},
		"golangsdk, white space squeezed":        {golangsdkSqueezed(golangsdk), ""},
		"openstack4j, port signed away":          {portAdded(with(formatCredential, func(c *client) { c.kind = "DMS" }).post(queues, body)), body},
		"openstack4j, service in upper case":     {with(formatCredential, func(c *client) { c.kind = "DMS" }).post(queues, body), body},
		"derived":                                {defaultClient(formatDerived).post(queues, body), body},
		"content-length signed":                  {with(formatAccess, func(c *client) { c.signed = []string{"content-length", "x-sdk-date"} }).post(queues, body), body},
		"slash at the end on the wire":           {defaultClient(formatAccess).request("GET", queues+"/", queues+"/", "", "", hexSum(""), nil), ""},
		"letters that need encoding":             {defaultClient(formatAccess).request("GET", "/v1.0/a%20b/q~%C3%A9+c", "/v1.0/a%20b/q~%C3%A9%2Bc/", "", "", hexSum(""), nil), ""},
		"query needs encoding": {defaultClient(formatAccess).request("GET", queues+"?tag=a+b&tag=%C3%A9&a=1&z", queues+"/",
			"a=1&tag=a%20b&tag=%C3%A9&z=", "", hexSum(""), nil), ""},
		"query sorted after encoding":  {defaultClient(formatAccess).request("GET", queues+"?k=%C3%A9&k=z", queues+"/", "k=%C3%A9&k=z", "", hexSum(""), nil), ""},
		"query sorted before encoding": {defaultClient(formatAccess).request("GET", queues+"?k=%C3%A9&k=z", queues+"/", "k=z&k=%C3%A9", "", hexSum(""), nil), ""},
		"hash given":                   {defaultClient(formatAccess).request("POST", queues, queues+"/", "", body, hexSum(body), http.Header{contentHash: {hexSum(body)}, "Content-Type": jsonType["Content-Type"]}), body},
		"body unsigned, not JSON":      {defaultClient(formatAccess).request("POST", queues, queues+"/", "", body, unsignedPayload, http.Header{contentHash: {unsignedPayload}, "Content-Type": {"application/octet-stream"}}), body},
	} {
		t.Run(name, func(t *testing.T) {
			caller, refused := populated(t).Authenticate(c.r, []byte(c.body))
			require.Nil(t, refused)
			require.Equal(t, testProject, caller.Project)
		})
	}
}

// golangsdkSqueezed signs a header with its white space squeezed and sends it as it is.
func golangsdkSqueezed(c client) *http.Request {
	r := c.request("GET", queues, queues+"/", "", "", hexSum(""), http.Header{"Accept": {"a"}, "User-Agent": {"one two"}})
	r.Header.Set("User-Agent", "one  two")
	return r
}

// portAdded is a request on whose way out Java's HTTP client gave the Host header its port back.
func portAdded(r *http.Request) *http.Request {
	r.Host = testHost + ":9080"
	return r
}

func TestTheQuirkOfOpenstack4jIsForThePortAlone(t *testing.T) {
	w := populated(t)
	c := defaultClient(formatCredential)
	for _, host := range []string{testHost + ":x", testHost + ":", testHost + ".x:9080", "x" + testHost + ":9080", ":9080", "other.example.test:9080"} {
		r := c.get(queues)
		r.Host = host
		_, refused := w.Authenticate(r, nil)
		require.NotNil(t, refused, host)
	}
	c.format = formatAccess
	_, refused := w.Authenticate(portAdded(c.get(queues)), nil)
	require.NotNil(t, refused, "only in format B")
}

func TestRefusedSignatures(t *testing.T) {
	const body = `{"name":"q1"}`
	header := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	for _, f := range []format{formatAccess, formatCredential, formatDerived} {
		plain := defaultClient(f)
		at := func(date string) client { c := plain; c.date = date; return c }
		altered := plain.post(queues, body)
		last := altered.Header.Get("Authorization")
		flipped := strings.Map(func(r rune) rune { return r ^ 1 }, last[len(last)-1:])
		for name, c := range map[string]struct {
			r    *http.Request
			body string
			code int
		}{
			"altered body":          {plain.post(queues, body), `{"name":"q2"}`, CodeTokenInvalid},
			"body added":            {plain.get(queues), body, CodeTokenInvalid},
			"altered signature":     {header(altered, "Authorization", last[:len(last)-1]+flipped), body, CodeTokenInvalid},
			"other method":          {plain.request("PUT", queues, queues+"/", "", "", hexSum(""), nil), "", 0},
			"other path":            {plain.request("GET", queues+"/x", queues+"/", "", "", hexSum(""), nil), "", CodeTokenInvalid},
			"other query":           {plain.request("GET", queues+"?a=2", queues+"/", "a=1", "", hexSum(""), nil), "", CodeTokenInvalid},
			"value added to query":  {plain.request("GET", queues+"?a=1&a=2", queues+"/", "a=1", "", hexSum(""), nil), "", CodeTokenInvalid},
			"no secret":             {client{access: testAccess, format: f, region: "eu-de", kind: "dms", signed: []string{"x-sdk-date"}, date: testDate}.get(queues), "", CodeTokenInvalid},
			"unknown access key":    {client{access: "NOBODY", secret: testSecret, format: f, region: "eu-de", kind: "dms", signed: []string{"x-sdk-date"}, date: testDate}.get(queues), "", CodeTokenInvalid},
			"15 minutes before":     {at("20300102T024905Z").get(queues), "", 0},
			"15 minutes after":      {at("20300102T031905Z").get(queues), "", 0},
			"too old":               {at("20300102T024904Z").get(queues), "", CodeTokenExpired},
			"too far ahead":         {at("20300102T031906Z").get(queues), "", CodeTokenExpired},
			"no date":               {header(plain.get(queues), "X-Sdk-Date", ""), "", CodeTokenInvalid},
			"not a date":            {header(plain.get(queues), "X-Sdk-Date", "20300102T030405.5Z"), "", CodeTokenInvalid},
			"other date":            {header(plain.get(queues), "X-Sdk-Date", "20300102T030406Z"), "", CodeTokenInvalid},
			"other project":         {header(plain.get(queues), "X-Project-Id", otherProject), "", CodeOtherProject},
			"signed header missing": {client{access: testAccess, secret: testSecret, format: f, region: "eu-de", kind: "dms", signed: []string{"x-missing", "x-sdk-date"}, date: testDate}.get(queues), "", CodeTokenInvalid},
			"header twice":          {twice(plain.get(queues)), "", CodeTokenInvalid},
			"false hash":            {plain.request("POST", queues, queues+"/", "", body, hexSum("other"), http.Header{contentHash: {hexSum("other")}}), body, CodeTokenInvalid},
			"unsigned JSON": {plain.request("POST", queues, queues+"/", "", body, unsignedPayload,
				http.Header{contentHash: {unsignedPayload}, "Content-Type": {"application/json; charset=utf-8"}}), body, CodeTokenInvalid},
			"unsigned, no type": {plain.request("POST", queues, queues+"/", "", body, unsignedPayload, http.Header{contentHash: {unsignedPayload}}), body, CodeTokenInvalid},
			"other host":        {otherHost(plain.get(queues)), "", CodeTokenInvalid},
			"bad query":         {plain.request("GET", queues+"?a=%zz", queues+"/", "a=%25zz", "", hexSum(""), nil), "", CodeTokenInvalid},
			"other scheme":      {header(plain.get(queues), "Authorization", "Basic YTpi"), "", CodeTokenInvalid},
		} {
			t.Run(string(f)+", "+name, func(t *testing.T) {
				_, refused := populated(t).Authenticate(c.r, []byte(c.body))
				if c.code == 0 {
					require.Nil(t, refused)
					return
				}
				require.NotNil(t, refused)
				require.Equal(t, c.code, refused.Code, refused.Message)
				require.Equal(t, http.StatusUnauthorized, refused.Status)
				if c.code == CodeTokenExpired {
					require.Contains(t, refused.Message, testDate, "the time of the server")
				}
			})
		}
	}
}

func twice(r *http.Request) *http.Request {
	r.Header.Add("Authorization", "SDK-HMAC-SHA256 Access=x, SignedHeaders=host, Signature=00")
	return r
}

func otherHost(r *http.Request) *http.Request {
	r.Host = "other.example.test"
	return r
}

func TestTheQuirkOfGolangsdkLeavesNothingUnsigned(t *testing.T) {
	w := populated(t)
	c := defaultClient(formatCredential)
	sign := func(target, payload string) *http.Request {
		return c.request("POST", target, queues+"/", "", "", hexSum(payload), nil)
	}
	_, refused := w.Authenticate(sign(queues+"?a=1", "a=1"), nil)
	require.Nil(t, refused)
	_, refused = w.Authenticate(sign(queues+"?a=2", "a=1"), nil)
	require.NotNil(t, refused, "another query than the one that was hashed")
	_, refused = w.Authenticate(sign(queues+"?a=1&a=2", "a=1"), nil)
	require.NotNil(t, refused, "a second value")
	_, refused = w.Authenticate(sign(queues+"?a=1", ""), nil)
	require.NotNil(t, refused, "a query that was not hashed")
	get := c.request("GET", queues+"?a=1", queues+"/", "", "", hexSum("a=1"), nil)
	_, refused = w.Authenticate(get, nil)
	require.NotNil(t, refused, "only with POST")
	c.format = formatAccess
	_, refused = w.Authenticate(sign(queues+"?a=1", "a=1"), nil)
	require.NotNil(t, refused, "only in format B")
}

func TestAnAccessKeyThatIsDeletedIsRefusedAtOnce(t *testing.T) {
	w := populated(t)
	r := defaultClient(formatAccess).get(queues)
	_, refused := w.Authenticate(r, nil)
	require.Nil(t, refused)
	require.NoError(t, w.another().DeleteAccessKey(t.Context(), testAccess))
	_, refused = w.Authenticate(r, nil)
	require.NotNil(t, refused)
	require.Equal(t, CodeTokenInvalid, refused.Code)
}

func TestSkewIsConfigurable(t *testing.T) {
	w := populated(t, func(o *Options) { o.Skew = time.Hour })
	w.clock.move(time.Hour)
	_, refused := w.Authenticate(defaultClient(formatAccess).get(queues), nil)
	require.Nil(t, refused)
	w.clock.move(time.Second)
	_, refused = w.Authenticate(defaultClient(formatAccess).get(queues), nil)
	require.Equal(t, CodeTokenExpired, refused.Code)
}

func TestMalformedAuthorizations(t *testing.T) {
	sig := strings.Repeat("0", 64)
	for _, text := range []string{
		"", "SDK-HMAC-SHA256", "SDK-HMAC-SHA256 ", "SDK-HMAC-SHA256 Access=a", "SDK-HMAC-SHA256 ,,,",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + sig[1:],
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + sig[1:] + "g",
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host;host, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=ho st, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=" + strings.Repeat("h;", 64) + "i, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, Access=a, SignedHeaders=host, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, Credential=a/20300102/r/s/sdk_request, SignedHeaders=host, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + sig + ", More=1",
		"SDK-HMAC-SHA256 Access=a/b, SignedHeaders=host, Signature=" + sig,
		"SDK-HMAC-SHA256 Credential=a/20300102/r/s, SignedHeaders=host, Signature=" + sig,
		"SDK-HMAC-SHA256 Credential=a/20300102/r/s/aws4_request, SignedHeaders=host, Signature=" + sig,
		"V11-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + sig,
		"V11-HMAC-SHA256 Credential=a/20300102/r/s/sdk_request, SignedHeaders=host, Signature=" + sig,
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + sig + strings.Repeat(" ", maxAuthorization),
	} {
		_, err := parseAuthorization(text)
		require.ErrorIs(t, err, errAuthorization, text)
	}
	a, err := parseAuthorization("SDK-HMAC-SHA256 Credential=a/20300102///sdk_request,SignedHeaders=X-Sdk-Date;host,Signature=" + sig)
	require.NoError(t, err)
	require.Equal(t, []string{"host", "x-sdk-date"}, a.headers)
	require.Equal(t, "20300102///sdk_request", a.scope)
}

func FuzzAuthorization(f *testing.F) {
	f.Add(defaultClient(formatAccess).get(queues).Header.Get("Authorization"))
	f.Add(defaultClient(formatCredential).get(queues).Header.Get("Authorization"))
	f.Add(defaultClient(formatDerived).get(queues).Header.Get("Authorization"))
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAuthorization(text)
		if err != nil {
			require.ErrorIs(t, err, errAuthorization)
			return
		}
		require.True(t, slices.IsSorted(a.headers))
		require.LessOrEqual(t, len(a.headers), maxSignedHeaders)
		require.Regexp(t, accessName, a.access)
	})
}

func FuzzCanonicalRequest(f *testing.F) {
	f.Add("GET", queues, "a=1&b=%20", "host;x-sdk-date", []byte(""))
	f.Add("POST", "/v1.0/%zz//x/", "a&&=b&a=%C3%A9;c", "content-length;host", []byte(`{"name":"q1"}`))
	f.Fuzz(func(t *testing.T, method, path, query, signed string, body []byte) {
		headers, err := parseSignedHeaders(signed)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: testHost, Header: http.Header{"X-Sdk-Date": {testDate}}, ContentLength: int64(len(body))}
		for _, kind := range []format{formatAccess, formatCredential} {
			a := &authorization{format: kind, headers: headers}
			c, err := newCanonical(r, body, a)
			if err != nil {
				require.ErrorIs(t, err, errUnsigned)
				return
			}
			variants := c.variants(kind)
			require.LessOrEqual(t, len(variants), 5)
			for _, v := range variants {
				lines := strings.Split(string(c.appendTo(nil, v)), "\n")
				if !strings.Contains(method, "\n") {
					require.GreaterOrEqual(t, len(lines), 6+len(headers)-1)
					require.True(t, strings.HasPrefix(lines[1], "/") && strings.HasSuffix(lines[1], "/"), lines[1])
				}
			}
		}
	})
}
