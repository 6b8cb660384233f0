package cluster

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// fate learns how an embedded server ends: by our stopping it, or by itself.
type fate struct {
	failed chan struct{}

	mu     sync.Mutex
	err    error
	closed bool // we stop it: its end is no failure
}

func newFate() *fate { return &fate{failed: make(chan struct{})} }

func (f *fate) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fate) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		close(f.failed)
	}
}

func (f *fate) stopping() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// watch ends with the server.
func (f *fate) watch(stopped <-chan struct{}) {
	select {
	case <-f.failed:
		return
	case <-stopped:
	}
	f.mu.Lock()
	expected := f.closed
	f.mu.Unlock()
	if !expected {
		f.fail(fmt.Errorf("%w: server stopped by itself", ErrEtcdFailed))
	}
}

// logger is what etcd logs to: warnings and worse, without those that are no news, and with "fatal" turned into a failure.
func (f *fate) logger(log *zap.Logger) *zap.Logger {
	return log.WithOptions(
		zap.IncreaseLevel(zapcore.WarnLevel),
		zap.WrapCore(func(core zapcore.Core) zapcore.Core { return quiet{core} }),
		zap.WithFatalHook(fatalHook{f}),
	).Named("etcd")
}

// fatalHook runs after etcd logged a fatal error, on the goroutine that found it. That one must not go on: it ends, the process does not.
type fatalHook struct{ fate *fate }

func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := fmt.Errorf("%w: %s", ErrEtcdFailed, entry.Message)
	for _, field := range fields {
		if cause, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	}
	h.fate.fail(err)
	runtime.Goexit()
}

// noNews is what etcd warns of at every start of a fresh single member, though nothing is wrong: the election that elect starts early is
// refused once, and the schema version is asked for before the first commit wrote it.
var noNews = map[string]bool{
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
}

// quiet drops noNews.
type quiet struct{ zapcore.Core }

func (q quiet) With(fields []zapcore.Field) zapcore.Core { return quiet{q.Core.With(fields)} }

func (q quiet) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if noNews[entry.Message] || isEarlyElection(entry.Message) {
		return checked
	}
	return q.Core.Check(entry, checked)
}

func isEarlyElection(message string) bool {
	return strings.HasSuffix(message, "since there are still pending configuration changes to apply")
}
