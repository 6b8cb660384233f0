package queue

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// DeleteQueue removes a queue with its groups, messages and dead letters. When it is answered with an error, the queue may be
// marked already: then it is gone for everybody, and asking again goes on with the removal.
func (s *Service) DeleteQueue(ctx context.Context, project, id string) error {
	if err := checkNames(project, id); err != nil {
		return err
	}
	return s.told(s.deleteQueue(ctx, project, id))
}

func (s *Service) deleteQueue(ctx context.Context, project, id string) error {
	// A removal that was begun is not given up because the client is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	q, err := s.update(ctx, project, id, func(doc *queueDoc, t *transaction) error {
		if doc.Deleting {
			return errUnchanged
		}
		doc.Deleting = true
		t.remove(private.KindQueueNames, project+"/"+doc.Name)
		t.remove(private.KindTags, project+"/"+id)
		return nil
	})
	if err != nil {
		return err
	}
	return s.removeQueue(ctx, q)
}

// removeQueue removes what belongs to a queue whose document is marked, and the document in the end. It may be done again.
func (s *Service) removeQueue(ctx context.Context, q *queue) error {
	for _, g := range q.groups {
		if err := s.deleteShareGroup(ctx, q, g); err != nil {
			return err
		}
	}
	if err := s.cancelDelays(ctx, q.Topic); err != nil {
		return err
	}
	topics := []string{q.topicName}
	for _, g := range q.groups {
		topics = append(topics, g.dlq)
	}
	if err := s.deleteTopics(ctx, topics); err != nil {
		return err
	}
	if err := s.clearSettings(ctx, q.groups); err != nil {
		return err
	}
	t := &transaction{}
	for _, g := range q.groups {
		t.remove(private.KindQueueGroups, g.ID)
		if len(t.req.Then) == changesAtOnce {
			if _, err := s.commit(ctx, t); err != nil {
				return err
			}
			t = &transaction{}
		}
	}
	t.remove(private.KindQueues, q.docName())
	if _, err := s.commit(ctx, t); err != nil {
		return err
	}
	s.cache.drop(q.docName())
	return nil
}

// changesAtOnce bounds a transaction of removals, below the limit of WriteDocuments.
const changesAtOnce = 50

// DeleteGroup removes a group with its dead letters. The queue's messages stay for other groups.
func (s *Service) DeleteGroup(ctx context.Context, project, id, name string) error {
	if _, ok := parseGroupID(name); !ok {
		return badf(CodeGroupID, "The consumer group ID format is invalid.")
	}
	q, err := s.find(ctx, project, id)
	if err != nil {
		return s.told(err)
	}
	if !slices.ContainsFunc(q.groups, func(g *group) bool { return g.ID == name }) { // one that is being deleted is deleted on
		return noGroup(name)
	}
	return s.told(s.deleteGroups(ctx, project, id, []string{name}))
}

// deleteGroups marks groups as gone and removes what belongs to them; those that are not there are fine.
func (s *Service) deleteGroups(ctx context.Context, project, id string, groups []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	q, err := s.update(ctx, project, id, func(doc *queueDoc, _ *transaction) error {
		changed := false
		for i := range doc.Groups {
			if g := &doc.Groups[i]; !g.Deleting && slices.Contains(groups, g.ID) {
				g.Deleting, changed = true, true
			}
		}
		if !changed || doc.Deleting {
			return errUnchanged
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.removeGroups(ctx, q, groups)
}

// removeGroups removes what belongs to groups that are marked, and in the end what the documents say of them. It may be done
// again; groups that are not marked are left alone.
func (s *Service) removeGroups(ctx context.Context, q *queue, ids []string) error {
	var doomed []*group
	for _, g := range q.groups {
		if g.Deleting && slices.Contains(ids, g.ID) {
			doomed = append(doomed, g)
		}
	}
	var letters []string
	for _, g := range doomed {
		if err := s.deleteShareGroup(ctx, q, g); err != nil {
			return err
		}
		letters = append(letters, g.dlq)
	}
	if err := s.deleteTopics(ctx, letters); err != nil {
		return err
	}
	if err := s.clearSettings(ctx, doomed); err != nil {
		return err
	}
	_, err := s.update(ctx, q.project, q.id, func(doc *queueDoc, t *transaction) error {
		var left []groupDoc
		for _, g := range doc.Groups {
			if g.Deleting && slices.Contains(ids, g.ID) {
				t.remove(private.KindQueueGroups, g.ID)
				continue
			}
			left = append(left, g)
		}
		if len(left) == len(doc.Groups) {
			return errUnchanged
		}
		doc.Groups = left
		return nil
	})
	return err
}

// deleteShareGroup deletes a group's share group with the state of its positions, and for a Kafka queue the group that Kafka
// clients have under the same id.
func (s *Service) deleteShareGroup(ctx context.Context, q *queue, g *group) error {
	err := s.deleteGroup(ctx, g.share)
	if isRefusal(err, kerr.NonEmptyGroup) { // leases keep it
		if err = s.dropLeases(ctx, q, g); err == nil {
			err = s.deleteGroup(ctx, g.share)
		}
	}
	if err == nil && g.share != g.ID {
		err = s.deleteGroup(ctx, g.ID)
	}
	if isRefusal(err, kerr.NonEmptyGroup) {
		// Kafka clients are members of it. It is theirs from now on, without settings, until they leave.
		s.log.Info("a deleted consumer group still has Kafka clients as members", zap.String("group", g.ID), zap.String("queue", q.docName()))
		err = nil
	}
	return err
}

// deleteGroup deletes a group of the broker; one that is not there is fine.
func (s *Service) deleteGroup(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 2, []string{name}
	return patiently(ctx, patience, func() error {
		resp, err := ask[*kmsg.DeleteGroupsResponse](ctx, s, req)
		if err != nil {
			return err
		}
		for i := range resp.Groups {
			if code := resp.Groups[i].ErrorCode; code != kerr.GroupIDNotFound.Code {
				return refused("delete group", code, text(resp.Groups[i].ErrorMessage))
			}
		}
		return nil
	})
}

// cancelDelays drops the messages that wait to enter a topic.
func (s *Service) cancelDelays(ctx context.Context, topic uuid.ID) error {
	if topic.IsZero() {
		return nil
	}
	return patiently(ctx, patience, func() error {
		resp, err := ask[*private.CancelDelaysResponse](ctx, s, &private.CancelDelaysRequest{TopicID: topic})
		if err != nil || resp.ErrorCode == kerr.UnknownTopicID.Code {
			return err
		}
		return refused("cancel delays", resp.ErrorCode, resp.ErrorMessage)
	})
}
