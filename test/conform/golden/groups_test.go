package golden

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["coordinator"] = coordinator
	scenarios["group"] = group
	scenarios["group-errors"] = groupErrors
	scenarios["group-static"] = groupStatic
}

func findCoordinator(kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.CoordinatorType, r.CoordinatorKeys = kind, keys
	if len(keys) > 0 {
		r.CoordinatorKey = keys[0]
	}
	return r
}

// group waits for the coordinator of a new group's name.
func (s *script) group(n string) string {
	name := s.topicName(n)
	prepare(s, findCoordinator(0, name), func(r *kmsg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	fetch := offsetFetch(name, topic{}, nil)
	prepare(s, fetch, func(r *kmsg.OffsetFetchResponse) bool { return r.Groups[0].ErrorCode == 0 }) // loaded
	return name
}

func coordinator(s *script) {
	g := s.group("g")
	s.ask("of a group", findCoordinator(0, g))
	if s.at(kmsg.FindCoordinator) >= 4 {
		s.ask("of two groups", findCoordinator(0, g, g+"2"))
		s.ask("of none", findCoordinator(0))
	}
	if s.at(kmsg.FindCoordinator) >= 1 {
		s.ask("of an unknown kind", findCoordinator(9, g))
	}
	s.ask("of an empty name", findCoordinator(0, ""))
}

func join(group, member string, protocols ...string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.ProtocolType = group, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 20_000, 20_000
	for _, p := range protocols {
		one := kmsg.NewJoinGroupRequestProtocol()
		one.Name, one.Metadata = p, []byte("metadata of "+p)
		r.Protocols = append(r.Protocols, one)
	}
	return r
}

// sync gives shares, a member id and its assignment in turn.
func syncGroup(group, member string, generation int32, shares ...string) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range")
	for i := 0; i < len(shares); i += 2 {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = shares[i], []byte(shares[i+1])
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	return r
}

func heartbeat(group, member string, generation int32) *kmsg.HeartbeatRequest {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	return r
}

func leave(group string, members ...string) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group = group
	for _, id := range members {
		r.MemberID = id
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		r.Members = append(r.Members, m)
	}
	return r
}

func describeGroups(groups ...string) *kmsg.DescribeGroupsRequest {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = groups
	return r
}

// enter joins as the only member, in the two steps that newer versions want.
func (s *script) enter(conn, group string, protocols ...string) (member string, generation int32) {
	r := as[kmsg.JoinGroupResponse](s.send(conn, "join", join(group, "", protocols...)).wait())
	if r.ErrorCode != 0 {
		r = as[kmsg.JoinGroupResponse](s.send(conn, "join with the id given", join(group, r.MemberID, protocols...)).wait())
	}
	return r.MemberID, r.Generation
}

func (s *script) listGroups(about string, states ...string) {
	r := kmsg.NewPtrListGroupsRequest()
	r.StatesFilter = states
	s.ask(about, r, func(r kmsg.Response) {
		resp := r.(*kmsg.ListGroupsResponse)
		kept := []kmsg.ListGroupsResponseGroup{} // not nil, whether or not there were groups of others
		for _, g := range resp.Groups {
			if g.Group == s.topicName("g") {
				kept = append(kept, g)
			}
		}
		resp.Groups = kept
	})
}

func group(s *script) {
	g := s.group("g")
	s.ask("describe one that is not there", describeGroups(g))
	a, gen := s.enter("a", g, "range", "roundrobin")
	s.ask("describe before the assignment", describeGroups(g))
	s.ask("heartbeat before the assignment", heartbeat(g, a, gen))
	s.ask("assign", syncGroup(g, a, gen, a, "all of it"))
	s.ask("ask again", syncGroup(g, a, gen))
	s.ask("heartbeat", heartbeat(g, a, gen))
	s.ask("describe", describeGroups(g))
	s.listGroups("list")
	s.listGroups("list the empty ones", "Empty")

	// A second member comes: the first hears of it with its next heartbeat and joins again.
	second := join(g, "", "range")
	var waiting *pending
	if s.at(kmsg.JoinGroup) >= 4 {
		given := as[kmsg.JoinGroupResponse](s.send("b", "second member joins", second).wait())
		waiting = s.send("b", "second member joins with the id given", join(g, given.MemberID, "range"))
	} else {
		waiting = s.send("b", "second member joins", second)
	}
	prepare(s, heartbeat(g, a, gen), func(r *kmsg.HeartbeatResponse) bool { return r.ErrorCode != 0 })
	s.ask("first member hears of it", heartbeat(g, a, gen))
	lead := as[kmsg.JoinGroupResponse](s.ask("first member joins again", join(g, a, "range", "roundrobin"), s.memberIDs))
	b := as[kmsg.JoinGroupResponse](waiting.wait())
	gen = lead.Generation
	follows := s.send("b", "second member waits for its share", syncGroup(g, b.MemberID, gen))
	s.ask("leader assigns", syncGroup(g, a, gen, a, "one half", b.MemberID, "the other"))
	follows.wait()
	s.ask("an old generation", heartbeat(g, a, gen-1))
	s.ask("second member leaves", leave(g, b.MemberID))
	s.ask("first member hears of that", heartbeat(g, a, gen))
	s.ask("first member leaves", leave(g, a))
	s.ask("leave again", leave(g, a))
	s.ask("describe when all are gone", describeGroups(g))
}

// memberIDs learns the ids of members whose own answer is not read yet.
func (s *script) memberIDs(r kmsg.Response) {
	for _, m := range r.(*kmsg.JoinGroupResponse).Members {
		s.mask.member(m.MemberID)
	}
}

func groupErrors(s *script) {
	g, none := s.group("g"), s.topicName("none")
	s.ask("join without a name", join("", "", "range"))
	short := join(g, "", "range")
	short.SessionTimeoutMillis = 10
	s.ask("join with too short a session", short)
	long := join(g, "", "range")
	long.SessionTimeoutMillis = 1 << 30
	s.ask("join with too long a session", long)
	s.ask("join as an unknown member", join(g, "somebody", "range"))
	s.ask("join without protocols", join(g, ""))
	untyped := join(g, "", "range")
	untyped.ProtocolType = ""
	s.ask("join without a type", untyped)
	s.ask("sync an unknown group", syncGroup(none, "m", 1))
	s.ask("sync without a name", syncGroup("", "m", 1))
	s.ask("heartbeat to an unknown group", heartbeat(none, "m", 1))
	s.ask("heartbeat without a name", heartbeat("", "m", 1))
	s.ask("leave an unknown group", leave(none, "m"))
	s.ask("describe without a name", describeGroups(""))
	a, gen := s.enter("a", g, "range")
	s.ask("join with no common protocol", join(g, "", "sticky"))
	other := join(g, "", "range")
	other.ProtocolType = "connect"
	s.ask("join with another type", other)
	s.ask("sync with an unknown member", syncGroup(g, "somebody", gen))
	s.ask("sync with another generation", syncGroup(g, a, gen+1))
	if s.at(kmsg.SyncGroup) >= 5 {
		wrong := syncGroup(g, a, gen, a, "x")
		wrong.Protocol = ptr("roundrobin")
		s.ask("sync with another protocol", wrong)
	}
	s.ask("heartbeat of an unknown member", heartbeat(g, "somebody", gen))
	s.ask("leave as an unknown member", leave(g, "somebody"))
	s.ask("leave", leave(g, a))
}

func groupStatic(s *script) {
	if s.at(kmsg.JoinGroup) < 5 {
		return // no static members yet
	}
	g, instance := s.group("g"), ptr("instance-1")
	as1 := join(g, "", "range")
	as1.InstanceID = instance
	first := as[kmsg.JoinGroupResponse](s.ask("join as an instance", as1))
	assign := syncGroup(g, first.MemberID, first.Generation, first.MemberID, "all")
	assign.InstanceID = instance
	s.ask("assign", assign)
	again := join(g, "", "range")
	again.InstanceID = instance
	next := as[kmsg.JoinGroupResponse](s.ask("the instance comes back", again))
	old := heartbeat(g, first.MemberID, next.Generation)
	old.InstanceID = instance
	s.ask("its former self is fenced", old)
	now := heartbeat(g, next.MemberID, next.Generation)
	now.InstanceID = instance
	s.ask("its new self is not", now)
	s.ask("its share is what it was", func() *kmsg.SyncGroupRequest {
		r := syncGroup(g, next.MemberID, next.Generation)
		r.InstanceID = instance
		return r
	}())
	gone := leave(g, "")
	gone.Members[0].InstanceID = instance
	s.ask("leave by the instance's name", gone)
	s.ask("describe", describeGroups(g))
}
