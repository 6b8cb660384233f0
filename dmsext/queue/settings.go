package queue

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// windowRecords is how many records of a partition a queue's group may have leased, or settled before an unsettled one.
const windowRecords = "100000"

// groupSettings are the settings of a queue's share group.
func groupSettings(q *queue, g *group) []setting {
	all := []setting{
		{"share.acquisition.durable", "true"},
		{"share.auto.offset.reset", "earliest"},
		{"share.window.max.records", windowRecords},
		{"share.failure.count.limit", strconv.Itoa(q.MaxConsume)}, // 0: never a dead letter
	}
	if q.Mode == FIFO {
		all = append(all, setting{"share.order", "partition"})
	}
	if q.Backoff != "" {
		all = append(all, setting{"share.retry.backoff.ms", q.Backoff})
	}
	if q.Redrive {
		all = append(all, setting{"errors.deadletterqueue.topic.name", g.dlq}, setting{"errors.deadletterqueue.copy.record.enable", "true"})
	}
	return all
}

// allGroupSettings are the names of all that groupSettings may set.
var allGroupSettings = []string{
	"share.acquisition.durable", "share.auto.offset.reset", "share.window.max.records", "share.failure.count.limit", "share.order",
	"share.retry.backoff.ms", "errors.deadletterqueue.topic.name", "errors.deadletterqueue.copy.record.enable",
}

const (
	opSet    kmsg.IncrementalAlterConfigOp = 0
	opDelete kmsg.IncrementalAlterConfigOp = 1
)

func groupResource(name string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, name
	return r
}

// putSettings sets the settings of groups, at once.
func (s *Service) putSettings(ctx context.Context, q *queue, groups []*group) error {
	var all []kmsg.IncrementalAlterConfigsRequestResource
	for _, g := range groups {
		r := groupResource(g.share)
		for _, c := range groupSettings(q, g) {
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: c.name, Op: opSet, Value: &c.value})
		}
		all = append(all, r)
	}
	return s.alter(ctx, all, false)
}

// clearSettings forgets the settings of groups.
func (s *Service) clearSettings(ctx context.Context, groups []*group) error {
	var all []kmsg.IncrementalAlterConfigsRequestResource
	for _, g := range groups {
		r := groupResource(g.share)
		for _, name := range allGroupSettings {
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: opDelete})
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil
	}
	return s.alter(ctx, all, false)
}

// checkBackoff asks the broker whether it understands a retry back-off.
func (s *Service) checkBackoff(ctx context.Context, backoff string) error {
	if backoff == "" {
		return nil
	}
	r := groupResource("g-" + newUUID())
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "share.retry.backoff.ms", Op: opSet, Value: &backoff})
	err := s.alter(ctx, []kmsg.IncrementalAlterConfigsRequestResource{r}, true)
	if isRefusal(err, kerr.InvalidConfig) {
		return badf(CodeFormat, "The request format is incorrect: the retry back-off must be the milliseconds of the first one[,factor[,milliseconds at most]].")
	}
	return err
}

func (s *Service) alter(ctx context.Context, resources []kmsg.IncrementalAlterConfigsRequestResource, validate bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.Resources, req.ValidateOnly = 1, resources, validate
	return patiently(ctx, patience, func() error {
		resp, err := ask[*kmsg.IncrementalAlterConfigsResponse](ctx, s, req)
		if err != nil {
			return err
		}
		for i := range resp.Resources {
			if err := refused("configure group", resp.Resources[i].ErrorCode, text(resp.Resources[i].ErrorMessage)); err != nil {
				return err
			}
		}
		return nil
	})
}
