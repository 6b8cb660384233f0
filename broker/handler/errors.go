package handler

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
)

// codes is the one mapping from the errors of the packages below to Kafka's codes. The first row that matches by errors.Is
// holds, so a special case stands above the general one it wraps. A package that gains an error gains its row here.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut},
}

// codeOf is the Kafka error that stands for err, nil for nil. An error that is a *kerr.Error, or wraps one, stands for
// itself. Anything unknown becomes UNKNOWN_SERVER_ERROR; ok is false then, and the caller logs it.
func codeOf(err error) (code *kerr.Error, ok bool) {
	if err == nil {
		return nil, true
	}
	for i := range codes {
		if errors.Is(err, codes[i].err) {
			return codes[i].code, true
		}
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k, true
	}
	return kerr.UnknownServerError, false
}

// code is what goes into an answer's error code for err: 0 for nil. An error the mapping does not know is logged here, the
// only place, with what the handler was doing.
func (h *handlers) code(err error, doing string, facts ...zap.Field) int16 {
	k, known := codeOf(err)
	if !known {
		h.Log.Error("request failed with an unexpected error", append(facts, zap.String("doing", doing), zap.Error(err))...)
	}
	if k == nil {
		return 0
	}
	return k.Code
}
