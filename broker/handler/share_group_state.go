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
	if err := h.guardGroup(c, req.GroupID); err != nil {
		resp := req.ResponseKind().(*kmsg.InitializeShareGroupStateResponse)
		for i := range req.Topics {
			t := kmsg.NewInitializeShareGroupStateResponseTopic()
			t.TopicID = req.Topics[i].TopicID
			for j := range req.Topics[i].Partitions {
				p := kmsg.NewInitializeShareGroupStateResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = req.Topics[i].Partitions[j].Partition, h.code(err, "change a share group's state"), reasonOf(err)
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		c.Reply(call.Response{Message: resp})
		return
	}
	h.Shares.InitializeState(req, func(r *kmsg.InitializeShareGroupStateResponse) {
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
	if err := h.guardGroup(c, req.GroupID); err != nil {
		resp := req.ResponseKind().(*kmsg.WriteShareGroupStateResponse)
		for i := range req.Topics {
			t := kmsg.NewWriteShareGroupStateResponseTopic()
			t.TopicID = req.Topics[i].TopicID
			for j := range req.Topics[i].Partitions {
				p := kmsg.NewWriteShareGroupStateResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = req.Topics[i].Partitions[j].Partition, h.code(err, "change a share group's state"), reasonOf(err)
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		c.Reply(call.Response{Message: resp})
		return
	}
	h.Shares.WriteState(req, func(r *kmsg.WriteShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// DeleteShareGroupState (key 86), version 0.
func (h *handlers) deleteShareGroupState(c *call.Call) {
	req := c.Request.(*kmsg.DeleteShareGroupStateRequest)
	if err := h.guardGroup(c, req.GroupID); err != nil {
		resp := req.ResponseKind().(*kmsg.DeleteShareGroupStateResponse)
		for i := range req.Topics {
			t := kmsg.NewDeleteShareGroupStateResponseTopic()
			t.TopicID = req.Topics[i].TopicID
			for j := range req.Topics[i].Partitions {
				p := kmsg.NewDeleteShareGroupStateResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = req.Topics[i].Partitions[j].Partition, h.code(err, "change a share group's state"), reasonOf(err)
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		c.Reply(call.Response{Message: resp})
		return
	}
	h.Shares.DeleteState(req, func(r *kmsg.DeleteShareGroupStateResponse) {
		c.Reply(call.Response{Message: r})
	})
}

// ReadShareGroupStateSummary (key 87), versions 0 to 1: v1 has the delivery complete count (KIP-1226).
func (h *handlers) readShareGroupStateSummary(c *call.Call) {
	h.Shares.ReadStateSummary(c.Request.(*kmsg.ReadShareGroupStateSummaryRequest), func(r *kmsg.ReadShareGroupStateSummaryResponse) {
		c.Reply(call.Response{Message: r})
	})
}
