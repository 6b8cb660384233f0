package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// SaslHandshake (17), versions 0-1: v1 says that SaslAuthenticate requests follow instead of bare tokens.
// A listener without authentication answers as Kafka does there: ILLEGAL_SASL_STATE and no mechanisms, and the
// connection stays usable.
func (h *handlers) saslHandshake(c *call.Call) {
	resp := c.Request.ResponseKind().(*kmsg.SASLHandshakeResponse)
	resp.ErrorCode = kerr.IllegalSaslState.Code
	c.Reply(call.Response{Message: resp})
}
