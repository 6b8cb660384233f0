package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Decode checks the body of a request as Check does and decodes it. Beside the request it gives Check's estimate of the bytes
// allocated; a caller that must reserve those first calls Check first: the second walk costs little beside the
// decoding.
//
// Produce's records alias body, which must stay as it is while they are used. Everything else in the request is its own; the
// exception are tags nobody knows, which no handler reads. Strings are valid UTF-8: what is not becomes U+FFFD, as in
// Kafka. It never panics; errors are those of Check.
func Decode(h Header, body []byte) (kmsg.Request, int64, error) {
	p, err := lookupProgram(h.Key, h.Version)
	if err != nil {
		return nil, 0, err
	}
	w := walk{buf: body}
	if err := w.run(p, h.Key, h.Version); err != nil {
		return nil, 0, err
	}
	if p.keeps {
		body = bytes.Clone(body)
	}
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, 0, &MalformedError{Key: h.Key, Version: h.Version, Offset: w.off, Reason: fmt.Sprintf("kmsg: %v", err)}
	}
	if w.badText {
		repair(reflect.ValueOf(req).Elem())
	}
	return req, w.heap, nil
}

// repairCost is what repairing a string may allocate, for each of its bytes.
const repairCost = 8

// repair makes every string below v valid UTF-8. It runs only for requests in which the walk found one that is not.
func repair(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); v.CanSet() && !utf8.ValidString(s) {
			v.SetString(validText(s))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			repair(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			repair(v.Field(i))
		}
	case reflect.Slice:
		if holdsText(v.Type().Elem()) {
			for i := range v.Len() {
				repair(v.Index(i))
			}
		}
	}
}

func holdsText(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Struct, reflect.Slice, reflect.Pointer:
		return true
	}
	return false
}
