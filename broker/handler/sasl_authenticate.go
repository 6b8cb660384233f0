package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// SaslAuthenticate (36), versions 0-2: v1 added the session lifetime, v2 is flexible.
// A listener without authentication counts its clients as authenticated, and says so as Kafka does.
func (h *handlers) saslAuthenticate(c *call.Call) {
	resp := c.Request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	resp.ErrorCode = kerr.IllegalSaslState.Code
	resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate request received after successful authentication")
	resp.SASLAuthBytes = []byte{}
	c.Reply(call.Response{Message: resp})
}
