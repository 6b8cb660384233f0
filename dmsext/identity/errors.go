package identity

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// What callers tell apart. All errors of the operations wrap one of these or come from the broker.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("exists already")
	ErrInvalid     = errors.New("invalid")
	ErrLimit       = errors.New("limit reached")
	ErrInUse       = errors.New("in use")
	ErrConflict    = errors.New("changed at the same time by somebody else")
	ErrDenied      = errors.New("not allowed")
	ErrCredentials = errors.New("the user name or password is wrong")
	ErrUnavailable = errors.New("the broker can not answer")
)

// The codes of refused requests (DMS reference, section 10.2).
const (
	CodeTokenInvalid = 10240101 // also a signature that does not verify
	CodeTokenExpired = 10240102 // also a signature whose time is too far off
	CodeTokenMissing = 10240103
	CodeOtherProject = 10240104
	CodeDenied       = 10240309
	CodeInternal     = 10250005
)

// AuthError is why a request is refused. Status is the HTTP status, Code the service's number.
type AuthError struct {
	Status  int
	Code    int
	Message string
	err     error
}

func (e *AuthError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Message) }

// Unwrap gives what lies behind a failure that is the broker's; nil for a refusal.
func (e *AuthError) Unwrap() error { return e.err }

func unauthorized(code int, format string, args ...any) *AuthError {
	return &AuthError{Status: http.StatusUnauthorized, Code: code, Message: fmt.Sprintf(format, args...)}
}

// unanswered says that the broker could not be asked, which is neither a yes nor a no.
func unanswered(err error) *AuthError {
	return &AuthError{Status: http.StatusServiceUnavailable, Code: CodeInternal, Message: "Credentials can not be checked now; try again.", err: err}
}

// slowError tells a client that fails to log in too often when to try again.
type slowError struct{ after time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("too many failed logins; try again in %s", e.after.Round(time.Second))
}
