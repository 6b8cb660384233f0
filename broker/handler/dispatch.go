package handler

import (
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// guarded keeps a handler that panics from taking the broker down: a request that trips over a bug costs its sender the
// connection and leaves a stack in the log.
func (r *Registry) guarded(handle func(*call.Call)) func(*call.Call) {
	return func(c *call.Call) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			r.log.Error("handler panicked, closing the connection",
				zap.Int16("key", c.Header.Key), zap.Int16("version", c.Header.Version),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			if !c.Answered() {
				c.Reply(call.Response{Close: true})
			}
		}()
		handle(c)
	}
}
