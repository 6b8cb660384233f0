package group

import (
	"errors"
	"sort"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// OffsetCommit stores offsets. The request's topics and partitions exist; their ids are set
// whatever the version, so that offsets of a topic made again are told apart.
func (s *Service) OffsetCommit(req *kmsg.OffsetCommitRequest, done func(*kmsg.OffsetCommitResponse)) {
	answer := func(r *kmsg.OffsetCommitResponse) {
		r.Version = req.Version
		done(r)
	}
	if tooLong(req.Group) {
		answer(commitFailed(req, kerr.InvalidGroupID))
		return
	}
	s.do(req.Group, func(m *machine, v runtime.View) runtime.Outcome { return m.commit(v, req, answer) },
		func(err error) { answer(commitFailed(req, commitCodeOf(err))) })
}

// OffsetFetch answers one group of an OffsetFetch request from what is committed, at once.
// With stable it sees what is appended, waits for it, and tells of partitions whose offset
// an open transaction holds. Topics nil: all offsets. Ids asked for and answered are those
// in the request.
func (s *Service) OffsetFetch(asked *kmsg.OffsetFetchRequestGroup, stable bool, done func(kmsg.OffsetFetchResponseGroup)) {
	fail := func(err error) {
		r := kmsg.NewOffsetFetchResponseGroup()
		r.Group, r.ErrorCode = asked.Group, codeOf(err).Code
		done(r)
	}
	n := s.partitions()
	if n <= 0 {
		fail(runtime.ErrNotCoordinator)
		return
	}
	partition := PartitionFor(asked.Group, n)
	var answer kmsg.OffsetFetchResponseGroup
	if !stable {
		err := s.rt.Read(partition, func(r runtime.Reader) (err error) {
			answer, err = fetchOffsets(r, asked, false)
			return err
		})
		if err != nil {
			fail(err)
			return
		}
		done(answer)
		return
	}
	err := s.rt.Do(partition, func(_ *machine, v runtime.View) runtime.Outcome {
		var failed error
		answer, failed = fetchOffsets(v, asked, true)
		return runtime.Outcome{Reply: func(err error) {
			if failed != nil {
				err = failed
			}
			if err != nil {
				fail(err)
				return
			}
			done(answer)
		}}
	})
	if err != nil {
		fail(err)
	}
}

// OffsetDelete deletes offsets. The request's topics and partitions exist.
func (s *Service) OffsetDelete(req *kmsg.OffsetDeleteRequest, done func(*kmsg.OffsetDeleteResponse)) {
	answer := func(r *kmsg.OffsetDeleteResponse) {
		r.Version = req.Version
		done(r)
	}
	fail := func(code *kerr.Error) {
		r := kmsg.NewPtrOffsetDeleteResponse()
		r.ErrorCode = code.Code
		answer(r)
	}
	if req.Group == "" {
		fail(kerr.InvalidGroupID)
		return
	}
	s.do(req.Group, func(m *machine, v runtime.View) runtime.Outcome { return m.deleteOffsets(v, req, answer) },
		func(err error) { fail(codeOf(err)) })
}

// DeleteGroups deletes groups without members, with their offsets. A name given twice is
// answered once. What is deleted is what req names: done, which may be called before this returns, may add to its answer.
func (s *Service) DeleteGroups(req *kmsg.DeleteGroupsRequest, done func(*kmsg.DeleteGroupsResponse)) {
	r := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	var groups []string
	seen := map[string]bool{}
	for _, group := range req.Groups {
		if !seen[group] {
			seen[group] = true
			groups = append(groups, group)
			told := kmsg.NewDeleteGroupsResponseGroup()
			told.Group = group
			r.Groups = append(r.Groups, told)
		}
	}
	all := gather(len(groups), func() { done(r) })
	for i, group := range groups {
		s.deleteGroup(group, func(code *kerr.Error) {
			r.Groups[i].ErrorCode = codeNumber(code)
			all()
		})
	}
}

// deleteGroup deletes a group step by step.
func (s *Service) deleteGroup(group string, done func(*kerr.Error)) {
	s.do(group, func(m *machine, v runtime.View) runtime.Outcome {
		if share, err := m.isShare(v, group); err != nil {
			return runtime.Outcome{Reply: func(error) { done(codeOf(err)) }}
		} else if share {
			return runtime.Outcome{Reply: func(error) { s.deleteShareGroup(group, done) }}
		}
		return m.deleteGroup(v, group, func(code *kerr.Error, more bool) {
			if code == nil && more {
				s.deleteGroup(group, done)
				return
			}
			done(code)
		})
	}, func(err error) { done(codeOf(err)) })
}

func (s *Service) deleteShareGroup(group string, done func(*kerr.Error)) {
	a := &shareAdmin{group: group, fail: func(code *kerr.Error, _ string) { done(code) }}
	s.again(a, func(m *machine, v runtime.View) runtime.Outcome { return m.deleteShareGroup(v, a) })
}

// mostDescribed is how often one answer describes a group: its members are as large as they made themselves, and a few bytes
// of a request name it.
const mostDescribed = 16

// DescribeGroups answers for each group asked for, in order. One named again is looked up once. Who may do what is left to
// the caller.
func (s *Service) DescribeGroups(req *kmsg.DescribeGroupsRequest, done func(*kmsg.DescribeGroupsResponse)) {
	r := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	r.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	places := make(map[string][]int, len(req.Groups))
	for i, group := range req.Groups {
		if len(places[group]) == mostDescribed {
			r.Groups[i] = describeFailed(group, kerr.InvalidRequest)
			continue
		}
		places[group] = append(places[group], i)
	}
	all := gather(len(places), func() { done(r) })
	for group, at := range places {
		answer := func(g kmsg.DescribeGroupsResponseGroup) {
			for _, i := range at {
				r.Groups[i] = g
			}
			all()
		}
		s.do(group, func(m *machine, v runtime.View) runtime.Outcome { return m.describe(v, req.Version, group, answer) },
			func(err error) { answer(describeFailed(group, codeOf(err))) })
	}
}

// ListGroups lists the groups coordinated here, sorted by name, through the filters of the
// request.
func (s *Service) ListGroups(req *kmsg.ListGroupsRequest, done func(*kmsg.ListGroupsResponse)) {
	r := req.ResponseKind().(*kmsg.ListGroupsResponse)
	var mu sync.Mutex
	found := func(all map[string]listing, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if !errors.Is(err, runtime.ErrNotCoordinator) && !errors.Is(err, runtime.ErrNotLeader) { // else somebody else lists that partition's groups
				r.ErrorCode = codeOf(err).Code
			}
			return
		}
		for _, l := range all {
			if l.wanted(req.StatesFilter, req.TypesFilter) {
				told := kmsg.NewListGroupsResponseGroup()
				told.Group, told.ProtocolType, told.GroupState, told.GroupType = l.id, l.protocolType, l.state, l.kind
				r.Groups = append(r.Groups, told)
			}
		}
	}
	shards := s.rt.Shards()
	each := gather(len(shards), func() {
		if r.ErrorCode != 0 {
			r.Groups = nil
		}
		sort.Slice(r.Groups, func(i, j int) bool { return r.Groups[i].Group < r.Groups[j].Group })
		done(r)
	})
	for partition := range shards {
		finish := func(all map[string]listing, err error) {
			if err == nil {
				err = s.rt.Survey(partition, func(rd runtime.Reader) error { return listRows(rd, all) })
			}
			found(all, err)
			each()
		}
		if err := s.rt.Do(partition, func(m *machine, _ runtime.View) runtime.Outcome { return m.list(finish) }); err != nil {
			finish(nil, err)
		}
	}
}

// TopicsDeleted deletes the offsets of topics that are gone, and what share groups keep of them, in the background.
func (s *Service) TopicsDeleted(topics []Topic) {
	ids := make(map[string]uuid.ID, len(topics))
	gone := make(map[uuid.ID]bool, len(topics))
	for _, t := range topics {
		ids[t.Name], gone[t.ID] = t.ID, true
	}
	for partition := range s.rt.Shards() {
		s.dropTopics(partition, ids, nil)
		s.dropShareTopics(partition, gone, nil)
	}
}

func (s *Service) dropTopics(partition int32, topics map[string]uuid.ID, from []byte) {
	next := func(next []byte, err error) {
		switch {
		case err != nil:
			s.log.Warn("offsets of deleted topics remain until they expire", zap.Int32("partition", partition), zap.Error(err))
		case next != nil:
			s.dropTopics(partition, topics, next)
		}
	}
	if err := s.rt.Do(partition, func(m *machine, v runtime.View) runtime.Outcome {
		return m.dropTopics(v, topics, from, next)
	}); err != nil {
		next(nil, err)
	}
}

// gather answers a function that calls done when it was called n times; with n 0 done is
// called at once.
func gather(n int, done func()) func() {
	if n == 0 {
		done()
		return nil
	}
	var mu sync.Mutex
	return func() {
		mu.Lock()
		n--
		last := n == 0
		mu.Unlock()
		if last {
			done()
		}
	}
}
