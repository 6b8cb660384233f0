package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// CreateQueue makes a queue, which is ready when it is answered (DMS reference 2.1, D30).
func (s *Service) CreateQueue(ctx context.Context, project string, n NewQueue) (Queue, error) {
	q, err := s.createQueue(ctx, project, n)
	if err != nil {
		return Queue{}, s.told(err)
	}
	return q.shown(), nil
}

func (s *Service) createQueue(ctx context.Context, project string, n NewQueue) (*queue, error) {
	if err := checkProject(project); err != nil {
		return nil, err
	}
	if err := checkQueue(&n); err != nil {
		return nil, err
	}
	if err := s.checkBackoff(ctx, n.RetryBackoff); err != nil {
		return nil, err
	}
	id := newUUID()
	q, err := s.claim(ctx, project, id, s.newDoc(&n))
	if err != nil {
		return nil, err
	}
	done, err := s.complete(ctx, q)
	if err == nil {
		return done, nil
	}
	// The caller learns of no queue, so none stays; what can not be removed now is found by Resume, or by the next user.
	if undo := s.deleteQueue(ctx, project, id); undo != nil {
		s.log.Warn("a queue that could not be made is left to be removed", zap.String("queue", q.docName()), zap.Error(undo))
	}
	return nil, err
}

// newDoc is the document of a queue that is to be made.
func (s *Service) newDoc(n *NewQueue) *queueDoc {
	doc := &queueDoc{
		Name: n.Name, Mode: cmp.Or(n.Mode, Normal), Description: n.Description, Created: s.now().UnixMilli(),
		Hours: cmp.Or(n.RetentionHours, mostHours), Partitions: cmp.Or(int32(n.Partitions), s.partitions), Backoff: n.RetryBackoff,
	}
	if doc.Mode.Kafka() && n.Partitions == 0 {
		doc.Partitions = 3 // DMS reference 9.1
	}
	if doc.Mode == FIFO {
		doc.Partitions = 1
	}
	if n.Redrive {
		doc.Redrive, doc.MaxConsume = true, n.MaxConsumeCount
	}
	return doc
}

// claim writes the document of a new queue if its name is free and the project's quota allows it.
func (s *Service) claim(ctx context.Context, project, id string, doc *queueDoc) (*queue, error) {
	var last error
	for attempt := range mostAttempts {
		if err := yield(ctx, attempt); err != nil {
			return nil, err
		}
		if last != nil { // perhaps the attempt before has succeeded
			if q, err := s.read(ctx, project, id); err != nil || q != nil {
				return q, err
			}
		}
		t, err := s.claiming(ctx, project, id, doc)
		if err != nil {
			return nil, err
		}
		revision, err := s.commit(ctx, t)
		if err == nil {
			return s.decoded(project, id, private.Document{Name: project + "/" + id, Value: t.req.Then[len(t.req.Then)-1].Value, Revision: revision})
		}
		if last, err = err, again(err, last); err != nil {
			return nil, err
		}
	}
	return nil, refused("creation of a queue", kerr.ThrottlingQuotaExceeded.Code, "others create queues all the time")
}

// claiming is the transaction of claim, from what is there now.
func (s *Service) claiming(ctx context.Context, project, id string, doc *queueDoc) (*transaction, error) {
	nameDoc, countDoc := project+"/"+doc.Name, project+"/"
	count, counted, err := s.document(ctx, private.KindQueueNames, countDoc) // before the queues are counted: whoever adds one changes it
	if err != nil {
		return nil, err
	}
	if _, taken, err := s.document(ctx, private.KindQueueNames, nameDoc); err != nil {
		return nil, err
	} else if taken {
		return nil, badf(CodeQueueExists, "A queue named %s exists already.", doc.Name)
	}
	used, err := s.used(ctx, project)
	if err != nil {
		return nil, err
	}
	if used >= s.maxQueues {
		return nil, badf(CodeQuota, "The quota is insufficient: the project may have %d queues.", s.maxQueues)
	}
	was := private.Absent
	if counted {
		was = count.Revision
	}
	t := &transaction{}
	t.when(private.KindQueueNames, countDoc, was)
	t.when(private.KindQueueNames, nameDoc, private.Absent)
	t.when(private.KindQueues, project+"/"+id, private.Absent)
	t.put(private.KindQueueNames, countDoc, used+1)
	t.put(private.KindQueueNames, nameDoc, id)
	t.put(private.KindQueues, project+"/"+id, doc)
	return t, nil
}

// used is how many queues a project has.
func (s *Service) used(ctx context.Context, project string) (n int, err error) {
	err = s.each(ctx, project, func(q *queue) error {
		if !q.Deleting {
			n++
		}
		return nil
	})
	return n, err
}

// complete makes the topic of a queue whose document stands without one.
func (s *Service) complete(ctx context.Context, q *queue) (*queue, error) {
	id, err := s.createTopic(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := s.update(ctx, q.project, q.id, func(doc *queueDoc, _ *transaction) error {
		switch {
		case doc.Deleting:
			return noQueue(q.id)
		case doc.Topic == id:
			return errUnchanged
		}
		doc.Topic = id
		return nil
	})
	var gone *Error
	if errors.As(err, &gone) && gone.Code == CodeQueueNotFound { // deleted meanwhile, perhaps before there was a topic to delete
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
		defer cancel()
		err = errors.Join(err, s.deleteTopics(ctx, []string{q.topicName}))
	}
	return done, err
}

// Queue shows one queue.
func (s *Service) Queue(ctx context.Context, project, id string) (Queue, error) {
	q, err := s.find(ctx, project, id)
	if err != nil {
		return Queue{}, s.told(err)
	}
	out := q.shown()
	out.Messages, err = s.messages(ctx, q)
	return out, s.told(err)
}

// Queues shows the queues of a project, the newest first (D32), always with the true number of messages (D18).
func (s *Service) Queues(ctx context.Context, project string) ([]Queue, error) {
	if err := checkProject(project); err != nil {
		return nil, err
	}
	out := []Queue{}
	err := s.each(ctx, project, func(q *queue) error {
		if q.Deleting {
			return nil
		}
		shown := q.shown()
		var err error
		if !q.Topic.IsZero() {
			shown.Messages, err = s.messages(ctx, q)
		}
		var gone *Error
		if errors.As(err, &gone) && gone.Code == CodeQueueNotFound { // just deleted
			return nil
		}
		out = append(out, shown)
		return err
	})
	if err != nil {
		return nil, s.told(err)
	}
	slices.SortFunc(out, func(a, b Queue) int { return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// messages is how many messages are in a queue now.
func (s *Service) messages(ctx context.Context, q *queue) (int64, error) {
	c, err := s.count(ctx, q.Topic)
	if err != nil {
		return 0, s.missing(ctx, q, err)
	}
	return c.Records, nil
}

// Quota is how many queues a project has and may have.
func (s *Service) Quota(ctx context.Context, project string) (Quota, error) {
	if err := checkProject(project); err != nil {
		return Quota{}, err
	}
	used, err := s.used(ctx, project)
	if err != nil {
		return Quota{}, s.told(err)
	}
	return Quota{Limit: s.maxQueues, Used: used, Min: 0, Max: max(500, s.maxQueues)}, nil
}
