package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Caller is who a request is from.
type Caller struct {
	Project string // the one project that the caller may use, by id; "" with Any, or with a token that is for none
	Any     bool   // every project, whether it was created or not: open mode
	Name    string // the user; "" in open mode
	Admin   bool   // may administer projects, users and access keys
}

// Admits tells whether the caller may use a project: nil, or the refusal.
func (c Caller) Admits(project string) *AuthError {
	switch {
	case c.Any || c.Project == project && project != "":
		return nil
	case c.Project == "":
		return unauthorized(CodeOtherProject, "The token is not for a project; log in with the project as scope.")
	default:
		return unauthorized(CodeOtherProject, "The credentials are for another project.")
	}
}

const (
	tokenHeader    = "X-Auth-Token"
	subjectHeader  = "X-Subject-Token"
	dateHeader     = "X-Sdk-Date"
	projectHeader  = "X-Project-Id"
	securityHeader = "X-Security-Token"

	dateLayout = "20060102T150405Z"
)

// Authenticate tells who a request is from, or why it is refused. body is what was received, to the byte; r is as it was
// received: neither its URL nor its headers changed. While there is no user and only this machine reaches the listener (or it
// was started with --insecure), requests need no credentials, and any that they bring are not looked at; but pages in a browser
// on this machine are kept out.
func (s *Service) Authenticate(r *http.Request, body []byte) (Caller, *AuthError) {
	c, refused := s.credentials(r, body)
	if refused == nil || refused.err != nil {
		return c, refused
	}
	open, err := s.open(r.Context())
	switch {
	case err != nil:
		return Caller{}, unanswered(err)
	case !open:
		return Caller{}, refused
	case foreignPage(r):
		return Caller{}, &AuthError{Status: http.StatusForbidden, Code: CodeDenied, Message: "A browser sent this for a page of another origin."}
	case s.loopback && !s.named(r.Host):
		return Caller{}, &AuthError{Status: http.StatusForbidden, Code: CodeDenied,
			Message: "As long as there is no user, requests must be sent to localhost, to an IP address or to the host of --http-url, not to " + clip(hostName(r.Host)) + "."}
	}
	return Caller{Any: true}, nil
}

func (s *Service) credentials(r *http.Request, body []byte) (Caller, *AuthError) {
	if token := r.Header.Get(tokenHeader); token != "" {
		c, u, err := s.verifyToken(r.Context(), token, kindToken)
		if err != nil {
			return Caller{}, s.refuseToken(err)
		}
		return Caller{Project: c.projectID(), Name: u.Name, Admin: u.admin()}, nil
	}
	switch headers := r.Header.Values("Authorization"); len(headers) {
	case 0:
		return Caller{}, unauthorized(CodeTokenMissing, "Credentials are missing: want X-Auth-Token, or a signature in Authorization.")
	case 1:
		return s.signature(r, body, headers[0])
	default:
		return Caller{}, unauthorized(CodeTokenInvalid, "There is more than one Authorization header.")
	}
}

func (s *Service) refuseToken(err error) *AuthError {
	switch {
	case errors.Is(err, errTokenInvalid):
		return unauthorized(CodeTokenInvalid, "The token is invalid.")
	case errors.Is(err, errTokenExpired):
		return unauthorized(CodeTokenExpired, "The token has expired.")
	}
	s.log.Warn("credentials can not be checked", zap.Error(err))
	return unanswered(err)
}

// signer is an access key with its secret; the secret is that of nobody when there is no such key.
type signer struct {
	secret  string
	project string
	name    string
	admin   bool
	known   bool
}

// signature verifies a signed request.
func (s *Service) signature(r *http.Request, body []byte, header string) (Caller, *AuthError) {
	a, err := parseAuthorization(header)
	if err != nil {
		return Caller{}, unauthorized(CodeTokenInvalid, "%s.", err)
	}
	date := strings.TrimSpace(r.Header.Get(dateHeader))
	if refused := s.checkDate(a, date); refused != nil {
		return Caller{}, refused
	}
	c, err := newCanonical(r, body, a)
	if err != nil {
		return Caller{}, unauthorized(CodeTokenInvalid, "%s.", err)
	}
	key, refused := s.signer(r.Context(), a, r.Header.Get(securityHeader))
	if refused != nil {
		return Caller{}, refused
	}
	signed, err := a.signedBy(key.secret, c, date)
	if err != nil {
		return Caller{}, unanswered(err)
	}
	if !signed || !key.known {
		return Caller{}, unauthorized(CodeTokenInvalid, "The access key is unknown, or the signature does not match the request.")
	}
	if named := r.Header.Get(projectHeader); named != "" && named != key.project {
		return Caller{}, unauthorized(CodeOtherProject, "The access key is for another project than %s says.", projectHeader)
	}
	return Caller{Project: key.project, Name: key.name, Admin: key.admin}, nil
}

// checkDate refuses what was signed too long ago, or too far ahead.
func (s *Service) checkDate(a *authorization, date string) *AuthError {
	if date == "" {
		return unauthorized(CodeTokenInvalid, "The header %s is missing.", dateHeader)
	}
	signed, err := time.Parse(dateLayout, date)
	if err != nil || len(date) != len(dateLayout) { // Parse takes fractions of a second too
		return unauthorized(CodeTokenInvalid, "The header %s is not a time as %s.", dateHeader, dateLayout)
	}
	if a.format != formatAccess && a.date != date[:len("20060102")] {
		return unauthorized(CodeTokenInvalid, "The date in the Credential is not that of %s.", dateHeader)
	}
	now := s.now().UTC()
	if off := now.Sub(signed); off > s.skew || off < -s.skew {
		return unauthorized(CodeTokenExpired, "The request was signed at %s, and the time of the server is %s: more than %s apart.",
			date, now.Format(dateLayout), s.skew)
	}
	return nil
}

func (s *Service) signer(ctx context.Context, a *authorization, securityToken string) (signer, *AuthError) {
	if securityToken != "" {
		t, u, err := s.openTemporary(ctx, securityToken)
		switch {
		case err != nil:
			refused := s.refuseToken(err)
			if refused.err == nil {
				refused.Message = strings.Replace(refused.Message, "The token", "The security token", 1)
			}
			return signer{}, refused
		case t.Access != a.access: // neither is a secret
			return signer{}, unauthorized(CodeTokenInvalid, "The security token belongs to another access key.")
		}
		return signer{secret: t.Secret, project: t.Project, name: u.Name, known: true}, nil
	}
	k, err := s.accessKey(ctx, a.access)
	switch {
	case errors.Is(err, ErrNotFound):
		return signer{secret: s.strangers}, nil
	case err != nil:
		return signer{}, s.refuseToken(err)
	}
	secret, err := s.secretOf(ctx, k)
	if err != nil {
		return signer{}, s.refuseToken(err)
	}
	return signer{secret: secret, project: k.Project, name: k.User, known: true}, nil
}
