package rest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/identity"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// witness is an Authenticator that lets everybody in and keeps the path as it was to be signed.
type witness struct{ path string }

func (w *witness) Authenticate(r *http.Request, _ []byte) (identity.Caller, *identity.AuthError) {
	w.path = r.URL.EscapedPath()
	return identity.Caller{Any: true}, nil
}

// TestEncodedPaths: what needs no encoding is the same with it (RFC 3986, 6.2.2.2); what does need it stays in its segment.
func TestEncodedPaths(t *testing.T) {
	seen := &witness{}
	w := newWorld(t, func(o *Options) { o.Identity = seen })
	for _, x := range []struct {
		method, path string
		status       int
		project      string
		queue, group string
		key          string
	}{
		{"GET", "/v1.0/local/%71ueues", 200, "local", "", "", ""},
		{"GET", "/%76%31%2E0/l%6fc%61l/%71%75%65%75%65%73", 200, "local", "", "", ""},
		{"GET", "/v1.0/my%2Dproject%5F1/queues", 200, "my-project_1", "", "", ""},
		{"GET", "/v2/local/queues/%61bc/%67roups", 200, "local", "abc", "", ""},
		{"DELETE", "/v2/local/queues/a%2Fb/groups/c%2fd", 204, "local", "a/b", "c/d", ""},
		{"DELETE", "/v2/local/queues/%2E%2E/groups/%7e", 204, "local", "..", "~", ""},
		{"DELETE", "/v2/local/queues/a%2561/groups/%25%37%31", 204, "local", "a%61", "%71", ""},
		{"DELETE", "/v1.0/local/queue/q/%74ags/k%2Fv%20%C3%A9%61", 204, "local", "q", "", "k/v éa"},
		{"GET", "/v1.0/local%2Fqueues", 404, "", "", "", ""},
		{"GET", "/v1.0%2Flocal/queues", 404, "", "", "", ""},
		{"GET", "/v1.0/local/queues%2Fabc", 404, "", "", "", ""},
		{"GET", "/v1.0/local/%2571ueues", 404, "", "", "", ""},
		{"DELETE", "/v2/local/queues/a/groups%2Fb", 404, "", "", "", ""},
		{"GET", "/%6fpenapi%2ejson", 200, "", "", "", ""},
		{"GET", "/v2%2F", 404, "", "", "", ""},
		{"GET", "/%2F", 404, "", "", "", ""},
	} {
		w.last.project, w.last.queue, w.last.group, w.last.key, seen.path = "", "", "", "", ""
		a := w.do(x.method, x.path, "")
		require.Equal(t, x.status, a.status, "%s: %s", x.path, a.body)
		require.Equal(t, []string{x.project, x.queue, x.group, x.key}, []string{w.last.project, w.last.queue, w.last.group, w.last.key}, x.path)
		if x.project != "" {
			require.Equal(t, x.path, seen.path, "signatures cover the path as it was received")
		}
	}
	require.Equal(t, queue.CodeProject, w.do("GET", "/v1.0/a%2Fb/queues", "").code(t))
}

// FuzzPaths: decodeUnreserved leaves a path the same in every segment, and nothing that it would decode again.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/v1.0/local/%71ueues", "/a%2Fb/%2f/%25%37%31", "/%41%5a%61%7A%30%39%2d%2E%5F%7e", "/%00%40%5B%60%7B%ff", "/%", "/%4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		want, err := url.PathUnescape(path)
		if err != nil {
			return // such paths do not get here
		}
		got := decodeUnreserved(path)
		plain, err := url.PathUnescape(got)
		require.NoError(t, err)
		require.Equal(t, want, plain)
		require.Equal(t, got, decodeUnreserved(got))
		require.Equal(t, slashes(path), slashes(got))
	})
}

func slashes(path string) (n int) {
	for i := range len(path) {
		if path[i] == '/' {
			n++
		}
	}
	return n
}
