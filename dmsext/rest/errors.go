package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// The codes that only this package raises (DMS reference, section 10.2); the others are named by package queue.
const (
	codeTagAction    = 10240040
	codeSearchAction = 10240041
	codeNoPath       = 10240406
	codeMethod       = 405001 // of the instance service (section 10.3): the queue service has none
	codeAckStatus    = 10540003
	codeBody         = 10540012
	codeTagType      = 10550035
)

// statuses are those of the codes above that do not answer 400. 10240407 and 10550035 are published with 404 and 500 and
// answered as D4 says.
var statuses = map[int]int{
	codeNoPath:            http.StatusNotFound,
	codeMethod:            http.StatusMethodNotAllowed,
	queue.CodeFlowControl: http.StatusTooManyRequests,
}

// errNotText is a body with bytes that are not UTF-8.
var errNotText = errors.New("the body is not UTF-8")

// refuse makes a refusal with the status that belongs to the code.
func refuse(code int, format string, args ...any) *queue.Error {
	status := statuses[code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	return &queue.Error{Status: status, Code: code, Message: text}
}

// busy refuses for now.
func busy(format string, args ...any) *queue.Error {
	e := refuse(queue.CodeFlowControl, format, args...)
	e.RetryAfter = time.Second
	return e
}

// bodyErrors are the codes of a body that is not as it should be, by call: one set for what manages queues, one for messages.
type bodyErrors struct{ malformed, shape int }

var (
	controlBody = bodyErrors{malformed: queue.CodeBody, shape: queue.CodeFormat}
	messageBody = bodyErrors{malformed: codeBody, shape: queue.CodeFormat}
)

// wrap gives an error of reading a body its code.
func (b bodyErrors) wrap(err error) error {
	var syntax *syntaxError
	var form *shapeError
	switch {
	case errors.As(err, &syntax):
		return refuse(b.malformed, "The message body is not in JSON format: %s.", syntax.Error())
	case errors.Is(err, errNotText):
		return refuse(queue.CodeBody, "The message body contains invalid characters: it is not UTF-8.")
	case errors.As(err, &form):
		return refuse(b.shape, "Invalid request format: %s.", form.text)
	}
	return err
}

// failure is how an error is told. The second value is false for one that has no code of its own.
func failure(err error) (*queue.Error, bool) {
	var e *queue.Error
	if errors.As(err, &e) && e != nil && e.Status != 0 {
		return e, true
	}
	if interrupted(err) {
		return &queue.Error{Status: http.StatusServiceUnavailable, Code: queue.CodeInternal,
			Message: "The request was given up before it was done; try again.", RetryAfter: time.Second}, true
	}
	return &queue.Error{Status: http.StatusInternalServerError, Code: queue.CodeInternal,
		Message: "Internal error. The server's log has the request ID with the reason."}, false
}

// appendError appends the body of an error: the superset of section 10.1, which every client understands in part.
func appendError(b []byte, e *queue.Error, requestID string) []byte {
	a := answer{b: b}
	a.open('{')
	a.integer("code", int64(e.Code))
	a.text("message", e.Message)
	a.name("error_code")
	a.b = append(a.b, `"DMS.`...)
	digits := strconv.Itoa(e.Code)
	for range 8 - len(digits) {
		a.b = append(a.b, '0')
	}
	a.b = append(append(a.b, digits...), '"')
	a.text("error_msg", e.Message)
	a.text("request_id", requestID)
	a.close('}')
	return a.b
}

// retryAfter is the header's value in whole seconds, at least 1; "" for none.
func retryAfter(e *queue.Error) string {
	switch {
	case e.RetryAfter > 0:
		return strconv.Itoa(int((e.RetryAfter + time.Second - 1) / time.Second))
	case e.Status == http.StatusTooManyRequests:
		return "1"
	}
	return ""
}

// interrupted tells whether a call ended because it was told to.
func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
