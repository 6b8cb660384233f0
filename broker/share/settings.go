package share

import (
	"maps"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// settings is what a group's settings come to. It does not change.
type settings struct {
	config.ShareSettings
	limits window.Limits

	revision int64         // of a recent image that they hold for; the image itself would keep thousands of old ones alive
	layers   config.Layers // what they were made from
}

// shareVersionDeadLetters is the level of the feature share.version that has dead letters (KIP-1191).
const shareVersionDeadLetters = 2

// settings is a group's settings now. last is what they were when the caller asked before, nil for none: they are made again
// only if something they are made from changed.
func (e *Engine) settings(group string, last *settings) *settings {
	image := e.o.Image()
	if newest := e.newest.Load(); newest != nil && newest.Revision > image.Revision {
		image = newest
	}
	if last != nil && last.revision == image.Revision {
		return last
	}
	l := replica.Layers(image, e.o.BrokerID, e.o.Start, "")
	l.Own = image.Config("group", group)
	s := &settings{revision: image.Revision, layers: l}
	if last != nil && maps.Equal(l.Own, last.layers.Own) && maps.Equal(l.OneBroker, last.layers.OneBroker) && maps.Equal(l.AllBrokers, last.layers.AllBrokers) {
		s.ShareSettings, s.limits = last.ShareSettings, last.limits
		return s
	}
	s.ShareSettings = l.Share()
	s.limits = window.Limits{MaxRecords: s.MaxRecords, CountSettled: s.CountSettled, Ordered: s.Ordered, Durable: s.Durable, DeadLetter: s.DeadLetterTopic != "" && (private.IsQueueGroup(group) || image.Features["share.version"] >= shareVersionDeadLetters)}
	switch {
	case s.FailureLimit > 0:
		s.limits.Failures = s.FailureLimit
	case s.FailureLimit < 0:
		s.limits.Deliveries = s.DeliveryLimit
	}
	if s.Backoff.Initial > 0 {
		s.limits.Backoff = s.Backoff.After
	}
	return s
}
