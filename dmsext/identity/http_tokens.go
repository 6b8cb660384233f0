package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// authRequest is the body of POST /v3/auth/tokens and of POST /v3.0/OS-CREDENTIAL/securitytokens (DMS reference 12.1).
type authRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User loginUser `json:"user"`
			} `json:"password"`
			Token struct {
				ID       string `json:"id"`
				Duration *int64 `json:"duration_seconds"`
				Hyphened *int64 `json:"duration-seconds"` // as older documents write it
			} `json:"token"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

type loginUser struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Password string `json:"password"`
	Domain   *ref   `json:"domain"`
}

// ref names a domain by id or name.
type ref struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// is tells whether the domain of that name is meant. Nothing is meant by nothing.
func (r *ref) is(domain string) bool {
	return r == nil || *r == ref{} || r.ID == domainID(domain) || strings.EqualFold(cmp.Or(r.Name, r.ID), domain)
}

type scope struct {
	Project *struct {
		ref
		Domain *ref `json:"domain"`
	} `json:"project"`
	Domain   *ref      `json:"domain"`
	Unscoped *struct{} `json:"unscoped"`
}

// Refusals of a login that are not about who it is.
var (
	errScope   = errors.New("the user may not use the project or domain of the scope, or there is none of that name")
	errMethods = errors.New("of the methods, \"password\" or \"token\" alone is served")
)

func (s *Service) postToken(w http.ResponseWriter, r *http.Request, body []byte) error {
	var req authRequest
	if err := readJSON(body, &req); err != nil {
		return err
	}
	c, u, err := s.logIn(r, &req)
	if err != nil {
		return err
	}
	p, err := s.resolveScope(r.Context(), c, u, req.Auth.Scope)
	if err != nil {
		return err
	}
	g, err := s.issuing(r.Context())
	if err != nil {
		return err
	}
	text, err := c.seal(g)
	if err != nil {
		return err
	}
	w.Header().Set(subjectHeader, text)
	return writeJSON(w, http.StatusCreated, s.describeToken(s.base(r), c, u, p, !r.URL.Query().Has("nocatalog")))
}

// logIn checks who it is, in the one way that the request names.
func (s *Service) logIn(r *http.Request, req *authRequest) (*claim, *user, error) {
	id := &req.Auth.Identity
	switch {
	case slices.Equal(id.Methods, []string{"password"}):
		u, err := s.byPassword(r.Context(), id.Password.User, r.RemoteAddr)
		if err != nil {
			return nil, nil, err
		}
		c, err := s.newClaim(u, byPassword)
		return c, u, err
	case slices.Equal(id.Methods, []string{"token"}):
		// What is made from a token ends with it, and shares its family, so that it is revoked with it.
		c, u, err := s.verifyToken(r.Context(), id.Token.ID, kindToken)
		if err != nil {
			return nil, nil, err
		}
		c.methods |= byToken
		c.project, c.domain = [16]byte{}, false
		c.issued = s.now().UTC().Truncate(time.Millisecond)
		return c, u, nil
	case len(id.Methods) == 0:
		return nil, nil, fmt.Errorf("%w: auth.identity.methods is missing: want [\"password\"] or [\"token\"]", ErrInvalid)
	}
	return nil, nil, errMethods
}

// byPassword takes as long for a user who is not there as for a wrong password.
func (s *Service) byPassword(ctx context.Context, l loginUser, remote string) (*user, error) {
	if l.Name == "" && l.ID == "" {
		return nil, fmt.Errorf("%w: the user's name is missing", ErrInvalid)
	}
	wait, succeeded := s.slow.take(l.ID+"\x00"+l.Name, remote, s.now())
	if wait > 0 {
		return nil, &slowError{wait}
	}
	u, err := s.loginUser(ctx, l)
	if err != nil {
		return nil, err
	}
	hash := ""
	if u != nil {
		hash = u.Password
	}
	if len(l.Password) > maxPassword {
		l.Password, hash = "", ""
	}
	ok, err := s.passwords.matches(ctx, hash, l.Password)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrCredentials
	}
	succeeded()
	return u, nil
}

// loginUser finds a user by name or id in its domain; nil when there is none.
func (s *Service) loginUser(ctx context.Context, l loginUser) (*user, error) {
	var found *user
	if l.Name != "" {
		if !plainName.MatchString(l.Name) {
			return nil, nil
		}
		u, err := load[user](ctx, &s.docs, private.KindUsers, l.Name)
		if err != nil {
			return nil, err
		}
		found = u.Value
	} else {
		u, err := s.userByID(ctx, l.ID)
		if err != nil {
			return nil, err
		}
		found = u
	}
	if found == nil || l.ID != "" && l.ID != found.ID || !l.Domain.is(found.Domain) {
		return nil, nil
	}
	return found, nil
}

func (s *Service) userByID(ctx context.Context, id string) (found *user, err error) {
	err = each(ctx, &s.docs, private.KindUsers, func(u stored[user]) bool {
		if u.Value.ID == id {
			found = u.Value
		}
		return found == nil
	})
	return found, err
}

// resolveScope says what a token is for: without a scope the user's first project, if there is one.
func (s *Service) resolveScope(ctx context.Context, c *claim, u *user, text json.RawMessage) (*Project, error) {
	var want scope
	name := ""
	switch {
	case len(text) == 0 || string(text) == "null":
		if len(u.Projects) > 0 {
			name = u.Projects[0]
		}
	case string(text) == `"unscoped"`:
	default:
		if err := readJSON(text, &want); err != nil {
			return nil, err
		}
	}
	switch {
	case want.Project != nil:
		name = cmp.Or(want.Project.ID, want.Project.Name)
		if name == "" {
			return nil, fmt.Errorf("%w: the scope's project has neither id nor name", ErrInvalid)
		}
	case want.Domain != nil:
		if *want.Domain == (ref{}) || !want.Domain.is(u.Domain) {
			return nil, errScope
		}
		c.domain = true
		return nil, nil
	case name == "":
		return nil, nil
	}
	p, err := s.Project(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, errScope
	}
	if err != nil {
		return nil, err
	}
	if !u.may(p.ID) || want.Project != nil && !want.Project.Domain.is(p.Domain) {
		return nil, errScope
	}
	return &p, c.setProject(p.ID)
}

// getToken checks a token: X-Subject-Token, asked for by its own user or an administrator.
func (s *Service) getToken(w http.ResponseWriter, r *http.Request, body []byte) error {
	c, u, err := s.subject(r, body)
	if err != nil {
		return err
	}
	var p *Project
	if id := c.projectID(); id != "" {
		found, err := s.Project(r.Context(), id)
		if err != nil {
			return err
		}
		p = &found
	}
	w.Header().Set(subjectHeader, r.Header.Get(subjectHeader))
	return writeJSON(w, http.StatusOK, s.describeToken(s.base(r), c, u, p, !r.URL.Query().Has("nocatalog")))
}

func (s *Service) deleteToken(w http.ResponseWriter, r *http.Request, body []byte) error {
	c, _, err := s.subject(r, body)
	if err != nil {
		return err
	}
	if err := s.revoke(r.Context(), c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) subject(r *http.Request, body []byte) (*claim, *user, error) {
	caller, err := s.who(r, body)
	if err != nil {
		return nil, nil, err
	}
	text := r.Header.Get(subjectHeader)
	if text == "" {
		return nil, nil, fmt.Errorf("%w: the header %s is missing", ErrInvalid, subjectHeader)
	}
	c, u, err := s.verifyToken(r.Context(), text, kindToken)
	switch {
	case errors.Is(err, errTokenInvalid), errors.Is(err, errTokenExpired):
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, err)
	case err != nil:
		return nil, nil, err
	case !caller.Admin && caller.Name != u.Name:
		return nil, nil, fmt.Errorf("%w: it is a token of another user", ErrDenied)
	}
	return c, u, nil
}

// postSecurityToken makes a temporary access key from a token.
func (s *Service) postSecurityToken(w http.ResponseWriter, r *http.Request, body []byte) error {
	var req authRequest
	if err := readJSON(body, &req); err != nil {
		return err
	}
	id := &req.Auth.Identity
	if !slices.Equal(id.Methods, []string{"token"}) {
		return fmt.Errorf("%w: of the methods, \"token\" alone is served", ErrInvalid)
	}
	c, _, err := s.verifyToken(r.Context(), cmp.Or(id.Token.ID, r.Header.Get(tokenHeader)), kindToken)
	if err != nil {
		return s.refuseToken(err)
	}
	life := minTemporary
	for _, seconds := range []*int64{id.Token.Hyphened, id.Token.Duration} {
		if seconds != nil {
			life = time.Duration(min(max(*seconds, 0), 1<<30)) * time.Second
		}
	}
	t, err := s.temporary(r.Context(), c, life)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, map[string]any{"credential": map[string]string{
		"access": t.Access, "secret": t.Secret, "securitytoken": t.SecurityToken, "expires_at": stamp(t.Expires),
	}})
}
