package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// maxBody bounds the body of a request to the identity service, in bytes.
const maxBody = 64 << 10

// handler answers one request. An error is answered in the shape of Keystone.
type handler func(w http.ResponseWriter, r *http.Request, body []byte) error

// methods are the handlers of one path.
type methods map[string]handler

// Handler serves the identity service under /v3 and /v3.0, its versions at /, and the administration of projects, users and
// access keys under /admin/v1.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, m := range s.routes() {
		if get, ok := m[http.MethodGet]; ok && m[http.MethodHead] == nil {
			m[http.MethodHead] = get
		}
		mux.Handle(path, s.dispatch(m))
	}
	mux.Handle("/", s.dispatch(nil))
	return mux
}

func (s *Service) routes() map[string]methods {
	version := methods{http.MethodGet: s.getVersion}
	domains := methods{http.MethodGet: s.getDomains}
	return map[string]methods{
		"/{$}":                               {http.MethodGet: s.getVersions},
		"/v3":                                version,
		"/v3/{$}":                            version,
		"/v3/auth/tokens":                    {http.MethodPost: s.postToken, http.MethodGet: s.getToken, http.MethodDelete: s.deleteToken},
		"/v3/auth/catalog":                   {http.MethodGet: s.getCatalog},
		"/v3/auth/projects":                  {http.MethodGet: s.getOwnProjects},
		"/v3/auth/domains":                   domains,
		"/v3/domains":                        domains,
		"/v3/regions":                        {http.MethodGet: s.getRegions},
		"/v3/services":                       {http.MethodGet: s.getServices},
		"/v3/services/{id}":                  {http.MethodGet: s.getService},
		"/v3/endpoints":                      {http.MethodGet: s.getEndpoints},
		"/v3/projects":                       {http.MethodGet: s.getProjects},
		"/v3/projects/{id}":                  {http.MethodGet: s.getProject},
		"/v3/users":                          {http.MethodGet: s.getUsers},
		"/v3/users/{id}":                     {http.MethodGet: s.getUser},
		"/v3/users/{id}/projects":            {http.MethodGet: s.getUserProjects},
		"/v3.0/OS-CREDENTIAL/securitytokens": {http.MethodPost: s.postSecurityToken},

		"/admin/v1/projects":             {http.MethodGet: s.adminListProjects, http.MethodPost: s.adminCreateProject},
		"/admin/v1/projects/{id}":        {http.MethodGet: s.adminShowProject, http.MethodDelete: s.adminDeleteProject},
		"/admin/v1/users":                {http.MethodGet: s.adminListUsers, http.MethodPost: s.adminCreateUser},
		"/admin/v1/users/{name}":         {http.MethodGet: s.adminShowUser, http.MethodPatch: s.adminChangeUser, http.MethodDelete: s.adminDeleteUser},
		"/admin/v1/access-keys":          {http.MethodGet: s.adminListKeys, http.MethodPost: s.adminCreateKey},
		"/admin/v1/access-keys/{access}": {http.MethodGet: s.adminShowKey, http.MethodDelete: s.adminDeleteKey},
	}
}

func (s *Service) dispatch(m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Vary", tokenHeader)
		h, ok := m[r.Method]
		switch {
		case m == nil:
			s.fail(w, r, fmt.Errorf("%w: there is nothing at %s", ErrNotFound, clip(r.URL.Path)))
			return
		case !ok:
			allowed := make([]string, 0, len(m))
			for name := range m {
				allowed = append(allowed, name)
			}
			slices.Sort(allowed)
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeError(w, http.StatusMethodNotAllowed, 0, "The method is not allowed here.")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeError(w, http.StatusRequestEntityTooLarge, 0, "The body is too large.")
		case err != nil:
			writeError(w, http.StatusBadRequest, 0, "The body could not be read.")
		default:
			if err := h(w, r, body); err != nil {
				s.fail(w, r, err)
			}
		}
	})
}

// fail answers with an error.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refused *AuthError
	var slow *slowError
	status := http.StatusInternalServerError
	code := 0
	switch {
	case errors.As(err, &refused):
		status, code = refused.Status, refused.Code
		err = errors.New(refused.Message)
	case errors.As(err, &slow):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(slow.after.Seconds()))))
	case errors.Is(err, errTokenInvalid), errors.Is(err, errTokenExpired), errors.Is(err, ErrCredentials), errors.Is(err, errScope), errors.Is(err, errMethods):
		status = http.StatusUnauthorized
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrDenied), errors.Is(err, ErrLimit):
		status = http.StatusForbidden
	case errors.Is(err, ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, ErrExists), errors.Is(err, ErrInUse), errors.Is(err, ErrConflict):
		status = http.StatusConflict
	default:
		s.log.Warn("identity request failed", zap.String("path", clip(r.URL.Path)), zap.Error(err))
		if errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			status = http.StatusServiceUnavailable
		}
		err = errors.New("the broker can not answer now")
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", s.base(r)+"/v3"))
	}
	writeError(w, status, code, err.Error())
}

// writeError answers as Keystone does, with the pair of fields beside it that the vendor's SDKs look for.
func writeError(w http.ResponseWriter, status, code int, message string) {
	type inner struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
	}
	name := "IAM." + strconv.Itoa(status)
	if code != 0 {
		name = "DMS." + strconv.Itoa(code)
	}
	_ = writeJSON(w, status, struct { // strings and numbers: nothing that can not be encoded
		Error     inner  `json:"error"`
		ErrorCode string `json:"error_code"`
		ErrorMsg  string `json:"error_msg"`
	}{inner{status, http.StatusText(status), message}, name, message})
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that is gone finds out by itself
	return nil
}

// readJSON decodes a body. Fields that are not known are left alone, as Keystone does.
func readJSON(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: the body is not the JSON that is expected: %s", ErrInvalid, clip(err.Error()))
	}
	return nil
}

// who is a caller of the identity service with what there is about it.
type who struct {
	Caller
	user  *user  // nil in open mode
	claim *claim // nil without a token
}

func (s *Service) who(r *http.Request, body []byte) (who, error) {
	if token := r.Header.Get(tokenHeader); token != "" {
		c, u, err := s.verifyToken(r.Context(), token, kindToken)
		if err == nil {
			return who{Caller{Project: c.projectID(), Name: u.Name, Admin: u.admin()}, u, c}, nil
		}
	}
	c, refused := s.Authenticate(r, body)
	if refused != nil {
		return who{}, refused
	}
	if c.Any {
		return who{Caller: c}, nil
	}
	u, err := s.user(r.Context(), c.Name)
	return who{Caller: c, user: u.Value}, err
}

// sees tells whether a caller of the directory may know of all users and projects.
func (w *who) sees() bool { return w.Any || w.Admin }

// administer tells who administers: a user, with a token and the role for it; or, as long as there is no user, "": somebody on
// the broker's own machine.
func (s *Service) administer(r *http.Request, body []byte) (by string, err error) {
	c, refused := s.credentials(r, body)
	switch {
	case refused == nil && c.Admin:
		return c.Name, nil
	case refused == nil:
		return "", fmt.Errorf("%w: this needs a token of a user with the role %s", ErrDenied, roleAdmin)
	case refused.err != nil:
		return "", refused
	}
	there, err := s.docs.any(r.Context(), private.KindUsers, "")
	switch {
	case err != nil:
		return "", err
	case there:
		return "", refused
	case !local(r):
		return "", fmt.Errorf("%w: as long as there is no user, this is for requests from the broker's own machine, to its address", ErrDenied)
	case foreignPage(r):
		return "", fmt.Errorf("%w: a browser sent this for a page of another origin", ErrDenied)
	}
	return "", nil
}

// local tells whether a request was sent on the machine it arrived at, by somebody who named the address: not through a proxy,
// and not by a browser that was led here by a host name.
func local(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isAddress(hostName(r.Host)) {
		return false
	}
	ip := net.ParseIP(from)
	if ip == nil {
		return false
	}
	if to, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && to.IP.Equal(ip) {
		return true
	}
	return ip.IsLoopback()
}

// stamp is a time as Keystone writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
