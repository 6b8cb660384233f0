package group

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// ShareState is the share coordinator, which keeps the states of share partitions; *share.Service implements it. done is called
// once, from any goroutine, maybe before the method returns.
type ShareState interface {
	// Initialize makes a state, or makes it anew, that begins at an offset; -1: where share.auto.offset.reset says.
	Initialize(k share.Key, stateEpoch int32, start int64, done func(error))
	Delete(k share.Key, done func(error))
	// Summary is the state without its batches; StateEpoch 0 and Start -1 where there is none.
	Summary(k share.Key, done func(share.Stored, error))
}

var _ ShareState = (*share.Service)(nil)

// Topics is the cluster's topics. Its methods do not block, except that LogEnd may call done later. A topic that they do not
// know is taken for one that does not exist.
type Topics interface {
	// Revision changes whenever the answers of Topic and TopicByID may have.
	Revision() int64
	Topic(name string) (id uuid.ID, partitions int32, ok bool)
	TopicByID(id uuid.ID) (name string, partitions int32, ok bool)
	// LogEnd is the offset after the last record that consumers may see.
	LogEnd(topic uuid.ID, partition int32, done func(end int64, err error))
}

// ShareSettings is a group's settings as far as its coordinator goes by them; share.session.timeout.ms and
// share.heartbeat.interval.ms. Zero fields are Kafka's defaults.
type ShareSettings struct {
	SessionTimeout    time.Duration // 45 s
	HeartbeatInterval time.Duration // 5 s
}

// Bounds of what clients send about share groups. Kafka has the first only; no topic's name is longer than the last.
const (
	maxShareMemberID = 36
	maxTopicName     = 249
)

// ShareGroupHeartbeat joins, keeps and leaves a share group. The answer to a member that is to have something else than it has
// says so, the first one too.
func (s *Service) ShareGroupHeartbeat(c Caller, req *kmsg.ShareGroupHeartbeatRequest, done func(*kmsg.ShareGroupHeartbeatResponse)) {
	answer := func(r *kmsg.ShareGroupHeartbeatResponse) {
		r.Version = req.Version
		done(r)
	}
	if message, ok := s.validBeat(req); !ok {
		answer(shareBeatError(kerr.InvalidRequest, message))
		return
	}
	r := &shareBeat{
		group: req.GroupID, member: req.MemberID, epoch: req.MemberEpoch, rack: req.RackID,
		clientID: c.ClientID, clientHost: c.ClientHost, settings: s.settings(req.GroupID), done: answer,
	}
	if req.SubscribedTopicNames != nil {
		r.topics = slices.Clone(req.SubscribedTopicNames)
		slices.Sort(r.topics)
		r.topics = slices.Compact(r.topics)
	}
	s.do(r.group, func(m *machine, v runtime.View) runtime.Outcome { return m.shareHeartbeat(v, r) },
		func(err error) { answer(shareBeatFailed(err)) })
}

// validBeat tells whether a heartbeat makes sense, and if not why; where Kafka says nothing there is no message.
func (s *Service) validBeat(req *kmsg.ShareGroupHeartbeatRequest) (message string, ok bool) {
	switch {
	case req.MemberID == "" || utf8.RuneCountInString(req.MemberID) > maxShareMemberID:
		return "", false
	case strings.TrimSpace(req.MemberID) == "":
		return "MemberId can't be empty.", false
	case strings.TrimSpace(req.GroupID) == "":
		return "GroupId can't be empty.", false
	case tooLong(req.GroupID):
		return "GroupId is too long.", false
	case req.RackID != nil && strings.TrimSpace(*req.RackID) == "":
		return "RackId can't be empty.", false
	case req.RackID != nil && tooLong(*req.RackID):
		return "RackId is too long.", false
	case req.MemberEpoch == shareJoins && len(req.SubscribedTopicNames) == 0:
		return "SubscribedTopicNames must be set in first request.", false
	case req.MemberEpoch < shareLeaves:
		return "MemberEpoch is invalid.", false
	case len(req.SubscribedTopicNames) > s.cfg.ShareMaxTopics:
		return fmt.Sprintf("SubscribedTopicNames has more than %d topics.", s.cfg.ShareMaxTopics), false
	}
	for _, name := range req.SubscribedTopicNames {
		if len(name) > maxTopicName {
			return "SubscribedTopicNames has a name that is too long.", false
		}
	}
	return "", true
}

// settings are a group's, with the defaults for what it does not say.
func (s *Service) settings(group string) ShareSettings {
	var set ShareSettings
	if s.shareSettings != nil {
		set = s.shareSettings(group)
	}
	def(&set.SessionTimeout, 45*time.Second)
	def(&set.HeartbeatInterval, 5*time.Second)
	return set
}

// mostExplained is up to how many groups of one request are told what else they are if they are no share groups, which costs as much
// as all the rest of the answer.
const mostExplained = 1000

// ShareGroupDescribe answers for each group asked for, in order, as DescribeGroups does. Who may do what is left to the caller.
func (s *Service) ShareGroupDescribe(req *kmsg.ShareGroupDescribeRequest, done func(*kmsg.ShareGroupDescribeResponse)) {
	r := req.ResponseKind().(*kmsg.ShareGroupDescribeResponse)
	r.Groups = make([]kmsg.ShareGroupDescribeResponseGroup, len(req.GroupIDs))
	first := make(map[string]int, len(req.GroupIDs)) // the place of each group
	again := map[int][]int{}                         // and, by that, the places of one that is named again
	for i, group := range req.GroupIDs {
		at, named := first[group]
		switch {
		case group == "":
			r.Groups[i] = shareNotDescribed(group, kerr.InvalidGroupID, "")
		case !named:
			first[group] = i
		case len(again[at]) == mostDescribed-1:
			r.Groups[i] = shareNotDescribed(group, kerr.InvalidRequest, "")
		default:
			again[at] = append(again[at], i)
		}
	}
	explain := len(first) <= mostExplained
	all := gather(len(first), func() { done(r) })
	for group, at := range first {
		answer := func(g kmsg.ShareGroupDescribeResponseGroup) {
			r.Groups[at] = g
			for _, i := range again[at] {
				r.Groups[i] = g
			}
			all()
		}
		s.do(group, func(m *machine, v runtime.View) runtime.Outcome { return m.describeShare(v, group, explain, answer) },
			func(err error) { answer(shareNotDescribed(group, codeOf(err), "")) })
	}
}

// AlterShareGroupOffsets sets where a share group without members begins.
func (s *Service) AlterShareGroupOffsets(req *kmsg.AlterShareGroupOffsetsRequest, done func(*kmsg.AlterShareGroupOffsetsResponse)) {
	answer := func(r *kmsg.AlterShareGroupOffsetsResponse) {
		r.Version = req.Version
		done(r)
	}
	a := &shareAdmin{group: req.GroupID, fail: func(code *kerr.Error, message string) {
		r := kmsg.NewPtrAlterShareGroupOffsetsResponse()
		r.ErrorCode, r.ErrorMessage = code.Code, text(message)
		answer(r)
	}}
	switch {
	case req.GroupID == "" || tooLong(req.GroupID):
		a.fail(kerr.InvalidGroupID, "The group id is invalid.")
		return
	case len(req.Topics) == 0:
		answer(kmsg.NewPtrAlterShareGroupOffsetsResponse())
		return
	}
	s.again(a, func(m *machine, v runtime.View) runtime.Outcome { return m.alterShareOffsets(v, req, a, answer) })
}

// DeleteShareGroupOffsets makes a share group without members forget topics.
func (s *Service) DeleteShareGroupOffsets(req *kmsg.DeleteShareGroupOffsetsRequest, done func(*kmsg.DeleteShareGroupOffsetsResponse)) {
	answer := func(r *kmsg.DeleteShareGroupOffsetsResponse) {
		r.Version = req.Version
		done(r)
	}
	a := &shareAdmin{group: req.GroupID, fail: func(code *kerr.Error, message string) {
		r := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
		r.ErrorCode, r.ErrorMessage = code.Code, text(message)
		answer(r)
	}}
	switch {
	case req.GroupID == "" || tooLong(req.GroupID):
		a.fail(kerr.InvalidGroupID, "The group id is invalid.")
		return
	case len(req.Topics) == 0:
		answer(kmsg.NewPtrDeleteShareGroupOffsetsResponse())
		return
	}
	s.again(a, func(m *machine, v runtime.View) runtime.Outcome { return m.deleteShareOffsets(v, req, a, answer) })
}

// again runs an operation on a share group's states, and once more when another was under way.
func (s *Service) again(a *shareAdmin, op func(*machine, runtime.View) runtime.Outcome) {
	a.again = func() { s.do(a.group, op, func(err error) { a.fail(codeOf(err), "") }) }
	a.again()
}

func text(message string) *string {
	if message == "" {
		return nil
	}
	return &message
}

// RegisterShareGroup has a share group read topics: it is made if it is not there, and its states of the topics, which begin
// where share.auto.offset.reset says, are there when done is called without an error. Errors are, or wrap, a *kerr.Error:
// GROUP_ID_NOT_FOUND for a group of another type, UNKNOWN_TOPIC_ID, COORDINATOR_NOT_AVAILABLE when the states are not there in
// time and will be.
func (s *Service) RegisterShareGroup(group string, topics []uuid.ID, done func(error)) {
	if group == "" || len(group) > math.MaxInt16 {
		done(kerr.InvalidGroupID)
		return
	}
	s.do(group, func(m *machine, v runtime.View) runtime.Outcome { return m.registerShare(v, group, topics, done) },
		func(err error) { done(codeOf(err)) })
}

// noShareState stands for a share coordinator where there is none: every change is done, and nothing is kept.
type noShareState struct{}

func (noShareState) Initialize(_ share.Key, _ int32, _ int64, done func(error)) { done(nil) }
func (noShareState) Delete(_ share.Key, done func(error))                       { done(nil) }
func (noShareState) Summary(_ share.Key, done func(share.Stored, error)) {
	done(share.Stored{None: true, Start: -1, DeliveryComplete: -1}, nil)
}

// noTopics stands for a cluster without topics.
type noTopics struct{}

func (noTopics) Revision() int64                                          { return 0 }
func (noTopics) Topic(string) (uuid.ID, int32, bool)                      { return uuid.ID{}, 0, false }
func (noTopics) TopicByID(uuid.ID) (string, int32, bool)                  { return "", 0, false }
func (noTopics) LogEnd(_ uuid.ID, _ int32, done func(end int64, _ error)) { done(-1, nil) }
