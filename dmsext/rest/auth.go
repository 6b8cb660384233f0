package rest

import (
	"net/http"

	"github.com/tidemark-mq/tidemark/dmsext/identity"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Authenticator tells who asks; *identity.Service. body is the request's body as it was received, for the signatures that
// cover it; it may not be kept. Without an error the caller is let in.
type Authenticator interface {
	Authenticate(r *http.Request, body []byte) (identity.Caller, *identity.AuthError)
}

var _ Authenticator = (*identity.Service)(nil)

// authenticate lets a request in if its caller may use the project of its path.
func (x *exchange) authenticate() error {
	s := x.server
	if s.identity == nil {
		return nil
	}
	caller, refused := s.identity.Authenticate(x.r, x.in)
	if refused == nil {
		refused = caller.Admits(x.project)
	}
	if refused != nil {
		return &queue.Error{Status: refused.Status, Code: refused.Code, Message: refused.Message}
	}
	x.caller = caller.Name
	return nil
}

// isProject tells whether a text may be a project's ID: 1 to 64 letters, digits, underscores and hyphens.
func isProject(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
