package handler

import (
	"context"
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// AlterConfigs (key 33), versions 0 to 2: v2 is flexible. It replaces all settings of a resource: those that are not named go
// back to their defaults.
func (h *handlers) alterConfigs(c *call.Call) {
	req := c.Request.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	ctx, cancel := context.WithTimeout(c.Context, adminTimeout)
	defer cancel()
	twice := twiceNamed(req.Resources, func(r *kmsg.AlterConfigsRequestResource) (kmsg.ConfigResourceType, string) {
		return r.ResourceType, r.ResourceName
	})
	for i := range req.Resources {
		rr := &req.Resources[i]
		err := errTwiceNamed
		if !twice[i] {
			if err = h.guardResource(c, rr.ResourceType, rr.ResourceName); err == nil {
				err = h.replaceConfigs(ctx, rr, req.ValidateOnly)
			}
		}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		out.ErrorCode, out.ErrorMessage = h.code(err, "alter configs"), reasonOf(err)
		resp.Resources = append(resp.Resources, out)
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) replaceConfigs(ctx context.Context, rr *kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	names := make([]string, len(rr.Configs))
	next := make(map[string]string, len(rr.Configs))
	for i := range rr.Configs {
		names[i] = rr.Configs[i].Name
		if v := rr.Configs[i].Value; v != nil {
			next[names[i]] = *v
		}
	}
	if err := checkKeys(names, func(i int) bool { return rr.Configs[i].Value == nil }); err != nil {
		return err
	}
	image := h.Cluster.Image()
	r, err := h.alterable(image, rr.ResourceType, rr.ResourceName)
	if err != nil {
		return err
	}
	return h.change(ctx, image, r, validateOnly, func(map[string]string) (map[string]string, error) {
		own, err := h.validate(image, r, next, names)
		if err != nil {
			return nil, err
		}
		return own, checkPermanent(r, own)
	})
}

// checkPermanent refuses a replacement that takes away what has to be set for all brokers, or sets it for one.
func checkPermanent(r resource, next map[string]string) error {
	if r.table != config.Broker() {
		return nil
	}
	for _, name := range config.Permanent() {
		if _, set := next[name]; set != r.wide() {
			return config.CheckPermanent(name, r.wide(), true)
		}
	}
	return nil
}

// change edits a resource's own settings, or only tries to.
func (h *handlers) change(ctx context.Context, image *cluster.Image, r resource, validateOnly bool, edit func(map[string]string) (map[string]string, error)) error {
	if !validateOnly {
		return h.Cluster.AlterConfigs(ctx, r.kind(), r.name, edit)
	}
	current := maps.Clone(image.Config(r.kind(), r.name))
	if current == nil {
		current = map[string]string{}
	}
	_, err := edit(current)
	return err
}
