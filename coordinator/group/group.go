package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// phase is where a classic group is in its life.
type phase uint8

const (
	empty      phase = iota // no members; offsets may be there
	preparing               // waiting for members to (re)join
	completing              // members have joined, the leader's assignment is awaited
	stable                  // every member has its assignment
)

// String is the phase's name in Kafka's answers; "Dead" stands for groups that are not there.
func (p phase) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[p]
}

const (
	dead             = "Dead"
	consumerProtocol = "consumer" // the protocol type whose metadata the coordinator can read
)

// group is a classic group. What a GroupMetadata record holds of it is in the log; the
// rest, who waits for what, lives and dies with the shard. A group is kept in memory while
// it has members or ids handed out, and made from its row when it is needed otherwise.
type group struct {
	id       string
	phase    phase
	previous phase     // the one before; an initial rebalance comes out of empty
	since    time.Time // of phase; zero in records of brokers before 2.1

	generation   int32
	protocolType string // "": none, a group of a simple consumer
	protocol     string // chosen by vote; "": none
	leader       string // member id; "": none

	members  []*member // in the order in which they came
	byID     map[string]*member
	static   map[string]*member // by instance id
	pending  map[string]bool    // ids handed out to members that are to come back with them
	unsynced map[string]bool    // members of this generation that have not sent SyncGroup
	joined   int                // members that wait for the rebalance
	support  map[string]int     // how many members have a protocol

	newMember bool          // one came since the initial rebalance was put off last
	delay     time.Duration // of the initial rebalance, this time ...
	remaining time.Duration // ... and what may be added yet

	topics map[string]bool // subscribed by members, if known
	known  bool
}

type member struct {
	id         string
	instance   *string // a static member's
	clientID   string
	clientHost string
	rebalance  time.Duration // how long it may take to rejoin
	session    time.Duration // how long it may be silent
	protocols  []protocol    // by preference
	assignment []byte
	fresh      bool // has not been through a rebalance yet

	join func(*kmsg.JoinGroupResponse) // waits for the rebalance; nil: does not
	sync func(*kmsg.SyncGroupResponse) // waits for the assignment; nil: does not
}

type protocol struct {
	name     string
	metadata []byte
}

func newGroup(id string, now time.Time) *group {
	return &group{
		id: id, since: now,
		byID: map[string]*member{}, static: map[string]*member{},
		pending: map[string]bool{}, unsynced: map[string]bool{}, support: map[string]int{},
	}
}

func (g *group) add(m *member) {
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instance != nil {
		g.static[*m.instance] = m
	}
	g.count(m, 1)
	if g.leader == "" {
		g.leader = m.id
	}
	delete(g.pending, m.id)
}

// remove takes out a member, or an id handed out, and hands on leadership.
func (g *group) remove(id string) {
	if m := g.byID[id]; m != nil {
		g.count(m, -1)
		delete(g.byID, id)
		g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
		if m.instance != nil && g.static[*m.instance] == m {
			delete(g.static, *m.instance)
		}
	}
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	delete(g.pending, id)
	delete(g.unsynced, id)
}

// count adds a member to the tallies, or takes it out, before and after it changes.
func (g *group) count(m *member, by int) {
	if m.join != nil {
		g.joined += by
	}
	for _, p := range m.protocols {
		if g.support[p.name] += by; g.support[p.name] == 0 {
			delete(g.support, p.name)
		}
	}
}

func (g *group) enter(p phase, now time.Time) {
	g.previous, g.phase, g.since = g.phase, p, now
}

// idle tells whether the group needs no place in memory: its row says all there is.
func (g *group) idle() bool {
	return g.phase == empty && len(g.members) == 0 && len(g.pending) == 0
}

// allJoined tells whether nobody is left to wait for in a rebalance.
func (g *group) allJoined() bool { return g.joined == len(g.members) && len(g.pending) == 0 }

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() (longest time.Duration) {
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

func (g *group) usesConsumerProtocol() bool { return g.protocolType == consumerProtocol }

// electLeader makes sure that the leader is one of those who joined: false if nobody did.
func (g *group) electLeader() bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// supports tells whether a member with these protocols fits into the group.
func (g *group) supports(protocolType string, protocols []protocol) bool {
	if g.phase == empty {
		return protocolType != "" && len(protocols) > 0
	}
	if g.protocolType == "" || g.protocolType != protocolType {
		return false
	}
	return slices.ContainsFunc(protocols, func(p protocol) bool { return g.support[p.name] == len(g.members) })
}

// vote picks the protocol that all members support and most prefer. Among equals it is the
// one that Kafka's hash map hands out first.
func (g *group) vote() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.support[p.name] == len(g.members) {
				votes[p.name]++
				break
			}
		}
	}
	best := ""
	for name, n := range votes {
		switch {
		case best == "" || n > votes[best]:
			best = name
		case n == votes[best] && before(name, best, len(votes)):
			best = name
		}
	}
	return best
}

func before(a, b string, entries int) bool {
	if x, y := hashOrder(a, entries), hashOrder(b, entries); x != y {
		return x < y
	}
	return a < b
}

// subscribe works out which topics the members subscribe to, if they say so in a way the
// coordinator can read.
func (g *group) subscribe() {
	g.topics, g.known = nil, false
	if !g.usesConsumerProtocol() {
		return
	}
	if len(g.members) > 0 && g.protocol == "" {
		return
	}
	topics := map[string]bool{}
	for _, m := range g.members {
		metadata, _ := m.metadata(g.protocol)
		if !subscription(metadata, topics) {
			return
		}
	}
	g.topics, g.known = topics, true
}

// subscribed tells whether offsets of a topic are in use. A group whose subscription cannot
// be read is taken to subscribe to everything, if it is one of consumers.
func (g *group) subscribed(topic string) bool {
	if g.known {
		return g.topics[topic]
	}
	return g.usesConsumerProtocol()
}

// subscription reads the topics of a consumer's metadata: the part that all versions have.
func subscription(metadata []byte, into map[string]bool) bool {
	r := reader{b: metadata}
	if int16(r.uint16()) < 0 {
		return false
	}
	for n := int32(r.uint32()); n > 0 && !r.short; n-- {
		into[r.string()] = true
	}
	return !r.short
}

func (m *member) metadata(protocol string) ([]byte, bool) {
	for _, p := range m.protocols {
		if p.name == protocol {
			return p.metadata, true
		}
	}
	return nil, false
}

// same tells whether the member would say nothing new with these protocols.
func (m *member) same(protocols []protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b protocol) bool {
		return a.name == b.name && slices.Equal(a.metadata, b.metadata)
	})
}

// expires tells whether silence takes the member out. While it waits for an answer it
// cannot speak; only a new member's wait has an end of its own.
func (m *member) expires() bool { return m.fresh || m.join == nil && m.sync == nil }

// value is the GroupMetadata record of the group with these assignments.
func (g *group) value(assignments map[string][]byte) *kmsg.GroupMetadataValue {
	v := new(kmsg.GroupMetadataValue)
	v.Default()
	v.ProtocolType, v.Generation = g.protocolType, g.generation
	if !g.since.IsZero() {
		v.CurrentStateTimestamp = g.since.UnixMilli()
	}
	if g.protocol != "" {
		v.Protocol = &g.protocol
	}
	if g.leader != "" {
		v.Leader = &g.leader
	}
	for _, m := range g.members {
		metadata, _ := m.metadata(g.protocol)
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
			RebalanceTimeoutMillis: int32(m.rebalance.Milliseconds()), SessionTimeoutMillis: int32(m.session.Milliseconds()),
			Subscription: metadata, Assignment: assignments[m.id],
		})
	}
	return v
}

// emptied is the record of the group when its last member is gone.
func (g *group) emptied(now time.Time) runtime.Record {
	v := new(kmsg.GroupMetadataValue)
	v.ProtocolType, v.Generation, v.CurrentStateTimestamp = g.protocolType, g.generation+1, now.UnixMilli()
	return groupRecord(g.id, v)
}

// restore is the group that a GroupMetadata record holds.
func restore(id string, v *kmsg.GroupMetadataValue) *group {
	g := newGroup(id, time.Time{})
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	g.generation, g.protocolType = v.Generation, v.ProtocolType
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	for i := range v.Members {
		r := &v.Members[i]
		m := &member{
			id: r.MemberID, instance: r.InstanceID, clientID: r.ClientID, clientHost: r.ClientHost,
			rebalance: millis(r.RebalanceTimeoutMillis), session: millis(r.SessionTimeoutMillis),
			protocols:  []protocol{{g.protocol, r.Subscription}},
			assignment: r.Assignment,
		}
		if r.RebalanceTimeoutMillis < 0 {
			m.rebalance = m.session
		}
		g.phase = stable
		g.add(m)
	}
	if v.Leader != nil && g.byID[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	g.subscribe()
	return g
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
