package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// The persister's APIs (KIP-932): what became of records for a share group, as the share coordinator keeps it. Brokers ask,
// clients have no use for them.

// InitializeShareGroupState (key 83), version 0.
func (h *handlers) initializeShareGroupState(c *call.Call) {
	req := c.Request.(*kmsg.InitializeShareGroupStateRequest)
	h.Shares.InitializeState(req, h.guardGroup(c, req.GroupID), func(r *kmsg.InitializeShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// ReadShareGroupState (key 84), version 0.
func (h *handlers) readShareGroupState(c *call.Call) {
	h.Shares.ReadState(c.Request.(*kmsg.ReadShareGroupStateRequest), func(r *kmsg.ReadShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// WriteShareGroupState (key 85), versions 0 to 1: v1 has the delivery complete count (KIP-1226).
func (h *handlers) writeShareGroupState(c *call.Call) {
	req := c.Request.(*kmsg.WriteShareGroupStateRequest)
	h.Shares.WriteState(req, h.guardGroup(c, req.GroupID), func(r *kmsg.WriteShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// DeleteShareGroupState (key 86), version 0.
func (h *handlers) deleteShareGroupState(c *call.Call) {
	req := c.Request.(*kmsg.DeleteShareGroupStateRequest)
	h.Shares.DeleteState(req, h.guardGroup(c, req.GroupID), func(r *kmsg.DeleteShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// ReadShareGroupStateSummary (key 87), versions 0 to 1: v1 has the delivery complete count (KIP-1226).
func (h *handlers) readShareGroupStateSummary(c *call.Call) {
	h.Shares.ReadStateSummary(c.Request.(*kmsg.ReadShareGroupStateSummaryRequest), func(r *kmsg.ReadShareGroupStateSummaryResponse) {
		c.Reply(call.Response{Message: r})
	})
}
