package group

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
)

// Options of a Service. Config's zero fields are Kafka's defaults.
type Options struct {
	KV     *kv.DB // keeps the views of the partitions led here
	Config Config
	// Partitions is how many partitions __consumer_offsets has; 0 while it does not exist.
	Partitions func() int32
	// DeleteRetention is that topic's delete.retention.ms; default 24 h.
	DeleteRetention time.Duration
	Log             *zap.Logger
	Metrics         prometheus.Registerer

	// Share keeps the states of what share groups read, Topics are the topics they may read. Without them share groups have
	// members, and nothing to read.
	Share  ShareState
	Topics Topics
	// Settings are those of a share group. It is called for each heartbeat; nil stands for Kafka's defaults.
	Settings func(group string) ShareSettings
	// ShareStateChanged is told of each state that was, or may have been, deleted or set to another offset, after it was: windows over it are to
	// be forgotten.
	ShareStateChanged func(share.Key)
	// ShareStateDeleted is told instead where it was, or may have been, deleted: who waits for something of it is to be answered. nil:
	// ShareStateChanged is.
	ShareStateDeleted func(share.Key)
}

// Service is the group coordinator of this broker: for the groups of those partitions of
// __consumer_offsets that it leads. Requests are handed over decoded; they are not kept
// beyond done, which is called once, maybe before the method returns and maybe much later,
// from any goroutine. Answers have the version of their request.
type Service struct {
	cfg        Config
	partitions func() int32
	log        *zap.Logger
	rt         *runtime.Runtime[*machine]

	share             ShareState
	topics            Topics
	shareSettings     func(group string) ShareSettings
	shareStateChanged func(share.Key)
	shareStateDeleted func(share.Key)
}

// New makes a coordinator that leads no partition yet.
func New(o Options) (*Service, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Share == nil {
		o.Share = noShareState{}
	}
	if o.Topics == nil {
		o.Topics = noTopics{}
	}
	s := &Service{
		cfg: o.Config.withDefaults(), partitions: o.Partitions, log: o.Log,
		share: o.Share, topics: o.Topics, shareSettings: o.Settings, shareStateChanged: o.ShareStateChanged,
		shareStateDeleted: o.ShareStateDeleted,
	}
	if s.shareStateDeleted == nil {
		s.shareStateDeleted = s.stateChanged
	}
	rt, err := runtime.New(runtime.Options[*machine]{
		Name: "group", KV: o.KV, Rows: Rows,
		New:             func(int32, int32) *machine { return newMachine(s) },
		DeleteRetention: o.DeleteRetention, CommitTimeout: s.cfg.CommitTimeout,
		Log: o.Log, Metrics: o.Metrics,
	})
	if err != nil {
		return nil, err
	}
	s.rt = rt
	return s, nil
}

// Load begins to coordinate the groups of a partition, whose leader this broker became in
// that epoch; id is that of the topic. See runtime.Runtime.Load.
func (s *Service) Load(id uuid.ID, partition, epoch int32, log runtime.Log) {
	s.rt.Load(id, partition, epoch, log)
}

// Unload ends it, for that epoch and older ones.
func (s *Service) Unload(partition, epoch int32) { s.rt.Unload(partition, epoch) }

// Shards lists the partitions coordinated here and their states.
func (s *Service) Shards() map[int32]runtime.State { return s.rt.Shards() }

// Close answers all that is pending and stops.
func (s *Service) Close() { s.rt.Close() }

// do runs an operation on a group's shard, or fails.
func (s *Service) do(group string, op func(*machine, runtime.View) runtime.Outcome, fail func(error)) {
	n := s.partitions()
	if n <= 0 {
		fail(runtime.ErrNotCoordinator)
		return
	}
	if err := s.rt.Do(PartitionFor(group, n), op); err != nil {
		fail(err)
	}
}

// Caller is who sends a request, as group descriptions show it.
type Caller struct {
	ClientID   string
	ClientHost string // "/127.0.0.1"
}

// JoinGroup answers when the rebalance that the request joins is complete.
func (s *Service) JoinGroup(c Caller, req *kmsg.JoinGroupRequest, done func(*kmsg.JoinGroupResponse)) {
	version := req.Version
	answer := func(r *kmsg.JoinGroupResponse) {
		r.Version = version
		done(r)
	}
	session := millis(req.SessionTimeoutMillis)
	switch {
	case req.Group == "" || tooLong(req.Group):
		answer(joinError(req.MemberID, kerr.InvalidGroupID))
		return
	case session < s.cfg.MinSessionTimeout || session > s.cfg.MaxSessionTimeout:
		answer(joinError(req.MemberID, kerr.InvalidSessionTimeout))
		return
	case tooLong(req.MemberID, req.ProtocolType) || req.InstanceID != nil && tooLong(*req.InstanceID):
		answer(joinError(req.MemberID, kerr.InvalidRequest))
		return
	}
	r := &joinRequest{
		version: version, group: req.Group, memberID: req.MemberID, newID: newMemberID(c.ClientID, req.InstanceID),
		instance: req.InstanceID, clientID: c.ClientID, clientHost: c.ClientHost,
		session: session, rebalance: max(0, millis(req.RebalanceTimeoutMillis)),
		protocolType: req.ProtocolType, protocols: protocolsOf(req), done: answer,
	}
	if version == 0 {
		r.rebalance = session // it has no timeout of its own
	}
	if r.protocols == nil && len(req.Protocols) > 0 {
		answer(joinError(req.MemberID, kerr.InvalidRequest))
		return
	}
	s.do(r.group, func(m *machine, v runtime.View) runtime.Outcome { return m.join(v, r) }, func(err error) {
		answer(joinError(r.memberID, codeOf(err)))
	})
}

// protocolsOf copies the protocols of a request, of a name the first; nil if a name is too
// long.
func protocolsOf(req *kmsg.JoinGroupRequest) []protocol {
	all := make([]protocol, 0, len(req.Protocols))
	seen := make(map[string]bool, len(req.Protocols))
	for _, p := range req.Protocols {
		if tooLong(p.Name) {
			return nil
		}
		if !seen[p.Name] {
			seen[p.Name] = true
			all = append(all, protocol{p.Name, append([]byte(nil), p.Metadata...)})
		}
	}
	return all
}

// SyncGroup answers when the generation's leader has sent the assignments.
func (s *Service) SyncGroup(req *kmsg.SyncGroupRequest, done func(*kmsg.SyncGroupResponse)) {
	version := req.Version
	answer := func(r *kmsg.SyncGroupResponse) {
		r.Version = version
		done(r)
	}
	switch {
	case version >= 5 && (req.ProtocolType == nil || req.Protocol == nil):
		answer(syncError(kerr.InconsistentGroupProtocol))
		return
	case req.Group == "":
		answer(syncError(kerr.InvalidGroupID))
		return
	}
	r := &syncRequest{
		group: req.Group, memberID: req.MemberID, instance: req.InstanceID, generation: req.Generation,
		protocolType: req.ProtocolType, protocol: req.Protocol, done: answer,
		assignments: make(map[string][]byte, len(req.GroupAssignment)),
	}
	for _, a := range req.GroupAssignment {
		r.assignments[a.MemberID] = append([]byte(nil), a.MemberAssignment...)
	}
	s.do(r.group, func(m *machine, v runtime.View) runtime.Outcome { return m.sync(v, r) }, func(err error) {
		answer(syncError(codeOf(err)))
	})
}

// Heartbeat keeps a member's session alive. While the coordinator loads it answers that all
// is well: sessions start over anyway.
func (s *Service) Heartbeat(req *kmsg.HeartbeatRequest, done func(*kmsg.HeartbeatResponse)) {
	answer := func(code *kerr.Error) {
		r := req.ResponseKind().(*kmsg.HeartbeatResponse)
		r.ErrorCode = codeNumber(code)
		done(r)
	}
	if req.Group == "" {
		answer(kerr.InvalidGroupID)
		return
	}
	s.do(req.Group, func(m *machine, _ runtime.View) runtime.Outcome { return m.heartbeat(req, answer) }, func(err error) {
		if code := codeOf(err); code != kerr.CoordinatorLoadInProgress {
			answer(code)
			return
		}
		answer(nil)
	})
}

// LeaveGroup takes members out. Before version 3 there is one, whose code is the answer's.
func (s *Service) LeaveGroup(req *kmsg.LeaveGroupRequest, done func(*kmsg.LeaveGroupResponse)) {
	r := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	fail := func(code *kerr.Error) {
		r.ErrorCode = code.Code
		done(r)
	}
	if req.Group == "" {
		fail(kerr.InvalidGroupID)
		return
	}
	answer := func(codes []*kerr.Error, failed *kerr.Error) {
		if failed != nil {
			fail(failed)
			return
		}
		if req.Version < 3 {
			r.ErrorCode = codeNumber(codes[0])
			done(r)
			return
		}
		for i, code := range codes {
			m := kmsg.NewLeaveGroupResponseMember()
			m.MemberID, m.InstanceID, m.ErrorCode = members[i].MemberID, members[i].InstanceID, codeNumber(code)
			r.Members = append(r.Members, m)
		}
		done(r)
	}
	s.do(req.Group, func(m *machine, v runtime.View) runtime.Outcome { return m.leave(v, req.Group, members, answer) },
		func(err error) { fail(codeOf(err)) })
}

func codeNumber(code *kerr.Error) int16 {
	if code == nil {
		return 0
	}
	return code.Code
}

// tooLong tells whether a string does not fit the records' 16-bit lengths; Kafka does not
// decode such requests.
func tooLong(all ...string) bool {
	for _, s := range all {
		if len(s) > math.MaxInt16 {
			return true
		}
	}
	return false
}
