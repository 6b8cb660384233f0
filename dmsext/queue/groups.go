package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// CreateGroups makes consumer groups of a queue, all or none (DMS reference 3.1), in the order of their names.
func (s *Service) CreateGroups(ctx context.Context, project, id string, names []string) ([]Group, error) {
	groups, err := s.createGroups(ctx, project, id, names)
	return groups, s.told(err)
}

func (s *Service) createGroups(ctx context.Context, project, id string, names []string) ([]Group, error) {
	if _, err := s.find(ctx, project, id); err != nil {
		return nil, err
	}
	if err := s.checkGroups(names); err != nil {
		return nil, err
	}
	ids := make([]string, len(names))
	for i := range ids {
		ids[i] = "g-" + newUUID()
	}
	now := s.now().UnixMilli()
	q, err := s.update(ctx, project, id, func(doc *queueDoc, t *transaction) error {
		if doc.Deleting {
			return noQueue(id)
		}
		if slices.ContainsFunc(doc.Groups, func(g groupDoc) bool { return g.ID == ids[0] }) { // the attempt before has succeeded
			return errUnchanged
		}
		if err := s.checkRoom(doc, names); err != nil {
			return err
		}
		for i, name := range names {
			doc.Groups = append(doc.Groups, groupDoc{ID: ids[i], Name: name, Created: now})
			t.when(private.KindQueueGroups, ids[i], private.Absent)
			t.put(private.KindQueueGroups, ids[i], ownerDoc{Project: project, Queue: id})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err = s.completeGroups(ctx, q); err != nil {
		s.abandonGroups(ctx, q, ids)
		return nil, err
	}
	out := make([]Group, len(names))
	for i := range out {
		out[i] = Group{ID: ids[i], Name: names[i], Created: time.UnixMilli(now)}
	}
	return out, nil
}

// checkGroups checks the names of one request.
func (s *Service) checkGroups(names []string) error {
	if len(names) == 0 {
		return badf(CodeFormat, "The request format is incorrect: groups must name at least one consumer group.")
	}
	if len(names) > s.maxGroups {
		return s.tooManyGroups()
	}
	for i, name := range names {
		if err := checkGroupName(name); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return badf(CodeGroupExists, "The consumer group %s is named twice.", name)
		}
	}
	return nil
}

func (s *Service) tooManyGroups() *Error {
	return badf(CodeTooManyGroups, "A queue may have at most %d consumer groups.", s.maxGroups)
}

// checkRoom checks that groups of these names may be added to a queue.
func (s *Service) checkRoom(doc *queueDoc, names []string) error {
	n := len(names)
	for i := range doc.Groups {
		g := &doc.Groups[i]
		if g.Deleting {
			continue
		}
		if n++; slices.Contains(names, g.Name) {
			return badf(CodeGroupExists, "A consumer group named %s exists already.", g.Name)
		}
	}
	if n > s.maxGroups {
		return s.tooManyGroups()
	}
	return nil
}

// abandonGroups removes groups that could not be made: their names and the room they take are free again.
func (s *Service) abandonGroups(ctx context.Context, q *queue, ids []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	err := s.deleteGroups(ctx, q.project, q.id, ids)
	if err == nil {
		return
	}
	// The queue itself may be gone, and the groups were set up after its removal looked for them.
	failures := []error{err}
	for _, g := range q.groups {
		if slices.Contains(ids, g.ID) {
			failures = append(failures, s.deleteShareGroup(ctx, q, g), s.clearSettings(ctx, []*group{g}))
		}
	}
	s.log.Warn("groups that could not be made are left to be removed", zap.String("queue", q.docName()), zap.Error(errors.Join(failures...)))
}

// completeGroups sets up the groups of a queue that are not yet.
func (s *Service) completeGroups(ctx context.Context, q *queue) (*queue, error) {
	var fresh []*group
	for _, g := range q.groups {
		if !g.Ready && !g.Deleting {
			fresh = append(fresh, g)
		}
	}
	if len(fresh) == 0 {
		return q, nil
	}
	if err := s.setUp(ctx, q, fresh); err != nil {
		return nil, err
	}
	return s.update(ctx, q.project, q.id, func(doc *queueDoc, _ *transaction) error {
		if doc.Deleting {
			return noQueue(q.id)
		}
		changed := false
		for i := range doc.Groups {
			d := &doc.Groups[i]
			if !d.Ready && slices.ContainsFunc(fresh, func(g *group) bool { return g.ID == d.ID }) {
				d.Ready, changed = true, true
			}
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
}

// setUp sets the settings of groups and registers them, as often as one likes.
func (s *Service) setUp(ctx context.Context, q *queue, groups []*group) error {
	if err := s.putSettings(ctx, q, groups); err != nil {
		return err
	}
	for _, g := range groups {
		err := patiently(ctx, patience, func() error {
			resp, err := ask[*private.RegisterGroupResponse](ctx, s, &private.RegisterGroupRequest{Group: g.share, TopicIDs: []uuid.ID{q.Topic}})
			if err != nil {
				return err
			}
			return refused("register group", resp.ErrorCode, resp.ErrorMessage)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Groups shows the groups of a queue in the order of their creation, with their numbers if they are asked for.
func (s *Service) Groups(ctx context.Context, project, id string, query GroupsQuery) (GroupList, error) {
	q, err := s.find(ctx, project, id)
	if err != nil {
		return GroupList{}, s.told(err)
	}
	list := GroupList{Queue: q.shown(), Groups: []Group{}}
	alive := q.alive()
	for _, g := range alive {
		list.Groups = append(list.Groups, Group{ID: g.ID, Name: g.Name, Created: time.UnixMilli(g.Created)})
	}
	if query.Counts && len(alive) > 0 {
		err = s.fillCounts(ctx, q, alive, &list)
	}
	if err != nil {
		return GroupList{}, s.told(err)
	}
	return list, nil
}

// fillCounts puts the groups' numbers in.
func (s *Service) fillCounts(ctx context.Context, q *queue, groups []*group, list *GroupList) error {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.share
	}
	counts, err := s.count(ctx, q.Topic, names...)
	if err != nil {
		return s.missing(ctx, q, err)
	}
	list.Queue.Messages = counts.Records
	for i, g := range groups {
		out, c := &list.Groups[i], &counts.Groups[i]
		if err := refused("count group", c.ErrorCode, ""); err != nil {
			return err
		}
		out.Produced, out.Consumed, out.Available = counts.Records, c.Accepted+c.Rejected+c.DeadLettered, c.Available
		out.InFlight, out.Filtered, out.Skipped = c.InFlight, c.Filtered, c.Skipped
		if out.ProducedDeadLetters = c.DeadLettered; c.DeadLettered > 0 {
			if out.AvailableDeadLetters, err = s.deadLetters(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// deadLetters is how many dead letters a group may still retrieve.
func (s *Service) deadLetters(ctx context.Context, g *group) (int64, error) {
	topic, err := s.letterTopic(ctx, g)
	if err != nil || topic.IsZero() {
		return 0, err
	}
	c, err := s.count(ctx, topic, g.share)
	switch {
	case isRefusal(err, kerr.UnknownTopicID), isRefusal(err, kerr.UnknownTopicOrPartition):
		g.letters.Store(nil)
		return 0, nil
	case err != nil:
		return 0, err
	case c.Groups[0].ErrorCode == kerr.GroupIDNotFound.Code: // nobody has asked for one yet
		return c.Records, nil
	}
	return c.Groups[0].Available, refused("count dead letters", c.Groups[0].ErrorCode, "")
}

// letterTopic is the id of the topic of a group's dead letters, zero while there is none.
func (s *Service) letterTopic(ctx context.Context, g *group) (uuid.ID, error) {
	if id := g.letters.Load(); id != nil {
		return *id, nil
	}
	id, err := s.topicID(ctx, g.dlq)
	if err == nil && !id.IsZero() {
		g.letters.Store(&id)
	}
	return id, err
}

// count asks for the numbers of a topic and of share groups that read it.
func (s *Service) count(ctx context.Context, topic uuid.ID, groups ...string) (*private.CountQueueResponse, error) {
	var counts *private.CountQueueResponse
	err := patiently(ctx, patience, func() (err error) {
		counts, err = ask[*private.CountQueueResponse](ctx, s, &private.CountQueueRequest{TopicID: topic, Groups: groups})
		if err != nil {
			return err
		}
		if counts.ErrorCode == 0 && len(counts.Groups) != len(groups) {
			return refused("count queue", kerr.UnknownServerError.Code, "a group is not answered")
		}
		for i := range counts.Groups {
			if code := counts.Groups[i].ErrorCode; passing[code] {
				return refused("count queue", code, counts.Groups[i].Group)
			}
		}
		return refused("count queue", counts.ErrorCode, counts.ErrorMessage)
	})
	return counts, err
}
