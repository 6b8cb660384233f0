package handler

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// CreatePartitions (key 37), versions 0 to 3: v2 is flexible, v3 knows quotas. The count is the new total.
func (h *handlers) createPartitions(c *call.Call) {
	req := c.Request.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := within(c, req.TimeoutMillis)
	defer cancel()
	times := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		n := times[rt.Topic]
		if n == 0 {
			continue // answered where it was named first
		}
		times[rt.Topic] = 0
		err := refuse(kerr.InvalidRequest, "Duplicate topic name.")
		if n == 1 {
			if err = guardTopic(c, rt.Topic); err == nil {
				err = h.growTopic(ctx, rt, req.ValidateOnly)
			}
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic, out.ErrorCode = rt.Topic, h.code(err, "create partitions")
		if !errors.Is(err, cluster.ErrUnknownTopic) { // the code says it all, as in Kafka
			out.ErrorMessage = reasonOf(err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) growTopic(ctx context.Context, rt *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	spec := cluster.PartitionsSpec{Topic: rt.Topic, Count: rt.Count, ValidateOnly: validateOnly}
	for i := range rt.Assignment {
		spec.Assignments = append(spec.Assignments, rt.Assignment[i].Replicas)
	}
	_, err := h.Cluster.CreatePartitions(ctx, spec)
	return err
}
