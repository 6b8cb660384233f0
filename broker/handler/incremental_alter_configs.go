package handler

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// IncrementalAlterConfigs (key 44), versions 0 to 1: v1 is flexible. It sets, deletes, and adds to or takes from lists (KIP-339).
// Each resource changes as a whole or not at all.
func (h *handlers) incrementalAlterConfigs(c *call.Call) {
	req := c.Request.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	ctx, cancel := context.WithTimeout(c.Context, adminTimeout)
	defer cancel()
	twice := twiceNamed(req.Resources, func(r *kmsg.IncrementalAlterConfigsRequestResource) (kmsg.ConfigResourceType, string) {
		return r.ResourceType, r.ResourceName
	})
	for i := range req.Resources {
		rr := &req.Resources[i]
		err := errTwiceNamed
		if !twice[i] {
			if err = h.guardResource(c, rr.ResourceType, rr.ResourceName); err == nil {
				err = h.alterIncrementally(ctx, rr, req.ValidateOnly)
			}
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		out.ErrorCode, out.ErrorMessage = h.code(err, "alter configs"), reasonOf(err)
		resp.Resources = append(resp.Resources, out)
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) alterIncrementally(ctx context.Context, rr *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	names := make([]string, len(rr.Configs))
	for i := range rr.Configs {
		if op := rr.Configs[i].Op; op < kmsg.IncrementalAlterConfigOpSet || op > kmsg.IncrementalAlterConfigOpSubtract {
			return kerr.UnknownServerError // as Kafka
		}
		names[i] = rr.Configs[i].Name
	}
	err := checkKeys(names, func(i int) bool {
		return rr.Configs[i].Value == nil && rr.Configs[i].Op != kmsg.IncrementalAlterConfigOpDelete
	})
	if err != nil {
		return err
	}
	if rr.ResourceType == kmsg.ConfigResourceTypeBrokerLogger {
		return h.alterLoggers(rr, validateOnly)
	}
	image := h.Cluster.Image()
	r, err := h.alterable(image, rr.ResourceType, rr.ResourceName)
	if err != nil {
		return err
	}
	return h.change(ctx, image, r, validateOnly, func(current map[string]string) (map[string]string, error) {
		return h.applyOps(image, r, current, rr.Configs)
	})
}

// applyOps makes of a resource's settings what the operations ask for.
func (h *handlers) applyOps(image *cluster.Image, r resource, next map[string]string, ops []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	l := h.resourceLayers(image, r)
	if r.table != config.Broker() {
		l.Own = next
	}
	var changed []string
	for i := range ops {
		op := &ops[i]
		if r.table == config.Broker() {
			if err := config.CheckPermanent(op.Name, r.wide(), op.Op == kmsg.IncrementalAlterConfigOpDelete); err != nil {
				return nil, err
			}
		}
		switch op.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			next[op.Name] = *op.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(next, op.Name)
			continue
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			list, err := editList(l, r, next, op)
			if err != nil {
				return nil, err
			}
			next[op.Name] = list
		}
		changed = append(changed, op.Name)
	}
	return h.validate(image, r, next, changed)
}

// editList adds elements to a list setting or takes them away. It starts from what is in force where the resource has
// nothing of its own.
func editList(l config.Layers, r resource, next map[string]string, op *kmsg.IncrementalAlterConfigsRequestResourceConfig) (string, error) {
	k, known := r.table.Key(op.Name)
	if !known || k.Type != config.List {
		return "", refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", op.Op, op.Name)
	}
	value, own := next[op.Name]
	if !own {
		if e := l.Describe(r.table, k); e.Value != nil {
			value = *e.Value
		}
	}
	list, given := config.Split(value), config.Split(*op.Value)
	for _, element := range given {
		at := slices.Index(list, element)
		switch {
		case op.Op == kmsg.IncrementalAlterConfigOpAppend && at < 0:
			list = append(list, element)
		case op.Op == kmsg.IncrementalAlterConfigOpSubtract && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	joined := strings.Join(list, ",")
	if len(joined) > math.MaxInt16 {
		return "", refuse(kerr.InvalidConfig, "The configuration value cannot be added because it exceeds the maximum value size of %d bytes.", math.MaxInt16)
	}
	return joined, nil
}
