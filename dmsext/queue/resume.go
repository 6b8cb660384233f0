package queue

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Resume goes on with what an earlier life began: it makes the topics and groups that documents say there are, and removes what is
// marked for removal. It may run beside everything else, here and on other brokers, and may be repeated. It does what it can and
// answers what it could not.
func (s *Service) Resume(ctx context.Context) error {
	var open []*queue
	err := s.each(ctx, "", func(q *queue) error {
		if q.unfinished() {
			open = append(open, q)
		}
		return nil
	})
	failures := []error{err}
	for _, q := range open {
		if err := s.resume(ctx, q); err != nil {
			if end := ctx.Err(); end != nil {
				return end
			}
			failures = append(failures, err)
		}
	}
	if err == nil {
		failures = append(failures, s.dropOrphans(ctx))
	}
	return errors.Join(failures...)
}

// unfinished tells whether something of a queue is still to be made or removed.
func (q *queue) unfinished() bool {
	if q.Deleting || q.Topic.IsZero() {
		return true
	}
	for _, g := range q.groups {
		if g.Deleting || !g.Ready {
			return true
		}
	}
	return false
}

func (s *Service) resume(ctx context.Context, q *queue) error {
	s.log.Info("going on with a queue", zap.String("queue", q.docName()), zap.Bool("deleting", q.Deleting))
	if q.Deleting {
		return s.removeQueue(ctx, q)
	}
	var err error
	if q.Topic.IsZero() {
		q, err = s.complete(ctx, q)
	}
	if err == nil {
		q, err = s.completeGroups(ctx, q)
	}
	if err == nil {
		var doomed []string
		for _, g := range q.groups {
			if g.Deleting {
				doomed = append(doomed, g.ID)
			}
		}
		if len(doomed) > 0 {
			err = s.removeGroups(ctx, q, doomed)
		}
	}
	var gone *Error
	if errors.As(err, &gone) && gone.Code == CodeQueueNotFound { // somebody deleted it meanwhile
		return nil
	}
	return err
}

// dropOrphans removes topics of dead letters whose queue is there and whose group is not: the broker may have made one while its
// group was being deleted. Topics of queues are never removed by their names alone.
func (s *Service) dropOrphans(ctx context.Context) error {
	all, err := s.allTopics(ctx)
	if err != nil {
		return err
	}
	var orphans []string
	for _, name := range all {
		orphan, err := s.isOrphan(ctx, name)
		if err != nil {
			return err
		}
		if orphan {
			orphans = append(orphans, name)
		}
	}
	err = s.deleteTopics(ctx, orphans)
	if isRefusal(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return err
}

// allTopics are the names of all topics of queues.
func (s *Service) allTopics(ctx context.Context) ([]string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = 12, false // no topics named: all
	m, err := ask[*kmsg.MetadataResponse](ctx, s, req)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range m.Topics {
		if name := text(m.Topics[i].Topic); private.IsQueueTopic(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// isOrphan tells whether a topic is one of dead letters whose queue does not know the group.
func (s *Service) isOrphan(ctx context.Context, name string) (bool, error) {
	const mark = "-dlq-"
	at := len(name) - len(mark) - len("g-") - idLength
	if at < len("q-p-")+idLength || name[at:at+len(mark)] != mark {
		return false, nil
	}
	if q, err := s.ofTopic(ctx, name); err != nil || q != nil { // a queue of a project whose name ends like that
		return false, err
	}
	source, group := name[:at], name[at+len(mark):]
	q, err := s.ofTopic(ctx, source)
	if err != nil || q == nil || q.Deleting {
		return false, err
	}
	for _, g := range q.groups {
		if g.ID == group {
			return false, nil
		}
	}
	return true, nil
}

const idLength = 36 // of a UUID's text

// ofTopic is the queue whose topic has that name, nil if there is none.
func (s *Service) ofTopic(ctx context.Context, topic string) (*queue, error) {
	at := len(topic) - idLength
	return s.read(ctx, strings.TrimSuffix(topic[len("q-"):at], "-"), topic[at:])
}
