package identity

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What it costs to know who a request is from. The fake broker stands for the image: a map.
func BenchmarkAuthenticate(b *testing.B) {
	w := populated(b)
	body := `{"name":"` + strings.Repeat("q", 1000) + `"}`
	login := httptest.NewRecorder()
	w.Handler().ServeHTTP(login, httptest.NewRequest("POST", "/v3/auth/tokens", strings.NewReader(loginBody("alice", "alice's password", ""))))
	token := httptest.NewRequest("POST", queues, nil)
	token.Header.Set("X-Auth-Token", login.Header().Get("X-Subject-Token"))
	for name, r := range map[string]*http.Request{
		"Access":     defaultClient(formatAccess).post(queues, body),
		"Credential": defaultClient(formatCredential).post(queues, body),
		"Derived":    defaultClient(formatDerived).post(queues, body),
		"Token":      token,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, refused := w.Authenticate(r, []byte(body)); refused != nil {
					b.Fatal(refused)
				}
			}
		})
	}
}

// What a login costs on purpose.
func BenchmarkPassword(b *testing.B) {
	p := newPasswords(defaultCost)
	hash, err := p.hash(b.Context(), "a password")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.matches(b.Context(), hash, "a password"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
