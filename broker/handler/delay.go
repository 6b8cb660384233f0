package handler

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// delay answers Delay: messages that enter a partition when they are due. Their topic is made when it is first needed.
func (h *handlers) delay(c *call.Call) {
	req := c.Request.(*private.DelayRequest)
	resp := &private.DelayResponse{}
	answer := func(ids []int64, err error) {
		resp.IDs, resp.ErrorCode = ids, h.code(err, "delay messages")
		if err != nil {
			resp.ErrorMessage = err.Error()
		}
		c.Reply(call.Response{Message: resp})
	}
	topic := h.Cluster.Image().TopicByID(req.TopicID)
	switch {
	case topic == nil:
		answer(nil, kerr.UnknownTopicID)
		return
	case req.Partition < 0 || int(req.Partition) >= len(topic.Partitions):
		answer(nil, kerr.UnknownTopicOrPartition)
		return
	case len(req.Messages) == 0:
		answer(nil, nil)
		return
	}
	if _, t := h.coordinatorTopic(c.Context, delay.Topic); t == nil {
		answer(nil, kerr.CoordinatorNotAvailable)
		return
	}
	to := delay.Target{Topic: req.TopicID, Partition: req.Partition}
	h.Delays.Delay(to, req.Messages, func(ids []int64, err error) {
		var full *delay.TooManyError
		if errors.As(err, &full) {
			err = refuse(kerr.ThrottlingQuotaExceeded, "%v", full)
		}
		answer(ids, err)
	})
}

// cancelDelays answers CancelDelays.
func (h *handlers) cancelDelays(c *call.Call) {
	req := c.Request.(*private.CancelDelaysRequest)
	resp := &private.CancelDelaysResponse{}
	defer c.Reply(call.Response{Message: resp})
	topic := h.Cluster.Image().TopicByID(req.TopicID)
	if topic == nil {
		resp.ErrorCode = kerr.UnknownTopicID.Code
		return
	}
	ctx, cancel := context.WithTimeout(c.Context, adminTimeout)
	defer cancel()
	for n := range topic.Partitions {
		dropped, err := h.cancelDelaysOf(ctx, delay.Target{Topic: topic.ID, Partition: int32(n)})
		if resp.Cancelled += dropped; err != nil {
			resp.ErrorCode, resp.ErrorMessage = h.code(err, "cancel delays"), err.Error()
			return
		}
	}
}

// cancelDelaysOf waits for a shard that is loading.
func (h *handlers) cancelDelaysOf(ctx context.Context, t delay.Target) (int64, error) {
	for {
		n, err := h.Delays.Cancel(ctx, t)
		if !errors.Is(err, runtime.ErrLoading) {
			return n, err
		}
		select {
		case <-time.After(loadingPause):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// loadingPause is how long a request of the broker itself waits before it asks a loading coordinator again.
const loadingPause = 20 * time.Millisecond
