package group

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestRandomHistories has clients of a few groups join, sync, speak, leave and fall silent
// in any order, while the coordinator moves and the power is cut. Whatever happens:
// generations grow, a generation has one leader and one protocol, assignments are those
// that its leader gave, committed offsets stay, and a coordinator made from log and view
// knows what the one before knew.
func TestRandomHistories(t *testing.T) {
	for i := range 60 {
		seed := uint64(i)
		if i >= 40 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				h := &history{t: t, c: coordinator(t, Config{MaxSize: 4, InitialRebalanceDelay: 300 * time.Millisecond}), rnd: rand.New(rand.NewPCG(seed, 2)), offsets: map[string]int64{}}
				h.run(800)
			})
		})
	}
}

type history struct {
	t       *testing.T
	c       *coord
	rnd     *rand.Rand
	clients []*actor
	offsets map[string]int64 // committed and acknowledged, by group
	leaders map[string]string
	given   map[string]string // assignment by group, generation and member
}

// actor is a client and what it waits for.
type actor struct {
	*who
	group   string
	joining *joinReply
	syncing *syncReply
	leads   []string // the members of its generation, if it leads
	stable  bool
}

func (h *history) run(steps int) {
	h.leaders, h.given = map[string]string{}, map[string]string{}
	for range steps {
		h.step()
		h.harvest()
	}
	h.c.log.release()
	h.harvest()
	h.verifyLog()
	h.restart(false)
}

func (h *history) step() {
	n := h.rnd.IntN(100)
	var a *actor
	if len(h.clients) > 0 {
		a = h.clients[h.rnd.IntN(len(h.clients))]
	}
	switch {
	case a == nil, n < 6 && len(h.clients) < 8:
		h.clients = append(h.clients, h.newActor())
	case n < 50:
		h.push(a)
	case n < 60:
		if a.stable && h.c.heartbeatNow(a.group, a.who) != 0 {
			a.stable = false
		}
	case n < 70:
		h.commit(a)
	case n < 72:
		h.c.leaveNow(a.group, a.who)
		h.forget(a)
	case n < 73:
		h.forget(a) // falls silent
	case n < 88:
		time.Sleep(time.Duration(h.rnd.IntN(1500)) * time.Millisecond)
	case n < 90:
		h.c.log.hold()
	case n < 96:
		h.c.log.release()
	case h.rnd.IntN(10) == 0:
		time.Sleep(70 * time.Second)
	case h.rnd.IntN(4) == 0:
		h.restart(h.rnd.IntN(2) == 0)
	}
}

func (h *history) newActor() *actor {
	w := client(fmt.Sprint("c", len(h.clients)+h.rnd.IntN(1000)))
	w.version = int16(h.rnd.IntN(10))
	if h.rnd.IntN(3) == 0 {
		name := fmt.Sprint("s", h.rnd.IntN(3))
		w.instance, w.version = &name, 5+int16(h.rnd.IntN(5))
	}
	w.protocols = [][]string{{"range"}, {"sticky", "range"}, {"range", "sticky"}}[h.rnd.IntN(3)]
	return &actor{who: w, group: fmt.Sprint("g", h.rnd.IntN(2))}
}

func (h *history) forget(a *actor) {
	for i, o := range h.clients {
		if o == a {
			h.clients = append(h.clients[:i], h.clients[i+1:]...)
			return
		}
	}
}

// push has a client do what comes next for it.
func (h *history) push(a *actor) {
	switch {
	case a.joining != nil || a.syncing != nil:
	case a.gen > 0 && !a.stable:
		h.sync(a)
	case !a.stable || h.rnd.IntN(4) == 0:
		a.gen, a.stable, a.leads = 0, false, nil
		a.joining = h.c.join(a.group, a.who)
	}
}

func (h *history) sync(a *actor) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 3, a.group, a.id, a.gen, a.instance
	for _, m := range a.leads {
		what := fmt.Sprintf("%s for %s in %d", a.id, m, a.gen)
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte(what)})
	}
	a.syncing = &syncReply{t: h.t}
	h.c.SyncGroup(req, a.syncing.set)
}

func (h *history) commit(a *actor) {
	if !a.stable {
		return
	}
	at := h.rnd.Int64N(1000)
	p := h.c.commitLater(a.group, a.who, "t", 0, at)
	if !p.open() && p.get().Topics[0].Partitions[0].ErrorCode == 0 {
		h.offsets[a.group] = at
	} else if p.open() {
		h.c.log.release() // the model knows only what is acknowledged at once
		if p.get().Topics[0].Partitions[0].ErrorCode == 0 {
			h.offsets[a.group] = at
		}
	}
}

// harvest takes answers over.
func (h *history) harvest() {
	synctest.Wait()
	for _, a := range append([]*actor(nil), h.clients...) {
		if a.joining != nil && !a.joining.open() {
			h.joined(a, a.joining.get())
		}
		if a.syncing != nil && !a.syncing.open() {
			h.synced(a, a.syncing.get())
		}
	}
	for group, at := range h.offsets {
		require.Equal(h.t, at, h.c.offset(group, "t", 0))
	}
}

func (h *history) joined(a *actor, r *kmsg.JoinGroupResponse) {
	a.joining = nil
	switch r.ErrorCode {
	case 0:
		a.id, a.gen = r.MemberID, r.Generation
		key, leader := fmt.Sprintf("%s/%d", a.group, r.Generation), r.LeaderID
		if name := alias(leader); strings.HasPrefix(name, "s") {
			leader = name // a static leader may come back under another id
		}
		if was, ok := h.leaders[key]; ok {
			require.Equal(h.t, was, leader+" "+*r.Protocol, "two leaders or protocols in %s", key)
		}
		h.leaders[key] = leader + " " + *r.Protocol
		a.leads = nil
		if !r.SkipAssignment {
			for _, m := range r.Members {
				a.leads = append(a.leads, m.MemberID)
			}
		}
		require.Contains(h.t, a.protocols, *r.Protocol)
	case memberIDRequired:
		a.id = r.MemberID
	case unknownMember, fencedInstance:
		a.id = ""
	case groupFull:
		h.forget(a)
	}
}

func (h *history) synced(a *actor, r *kmsg.SyncGroupResponse) {
	a.syncing = nil
	if r.ErrorCode != 0 {
		a.gen = 0
		if r.ErrorCode == unknownMember || r.ErrorCode == fencedInstance {
			a.id = ""
		}
		return
	}
	a.stable = true
	if len(r.MemberAssignment) > 0 && a.instance == nil {
		want := fmt.Sprintf(" for %s in %d", a.id, a.gen)
		require.Truef(h.t, strings.HasSuffix(string(r.MemberAssignment), want), "%q is not%s", r.MemberAssignment, want)
	}
}

// restart makes a new coordinator: from all of the log, or from what a power cut leaves.
func (h *history) restart(cut bool) {
	before := h.state()
	c := h.c
	c.stop()
	if cut {
		c.fs = c.fs.(*vfs.Crash).PowerCut(h.rnd.Uint64())
		c.log.mu.Lock()
		keep := c.log.hw
		for len(c.log.batches) > 0 && c.log.endLocked() > keep && h.rnd.IntN(2) == 0 {
			c.log.batches = c.log.batches[:len(c.log.batches)-1]
		}
		c.log.mu.Unlock()
	}
	c.log.release()
	c.start()
	clear(h.leaders) // a generation that was not stored is forgotten, and its number used again
	for _, a := range h.clients {
		a.joining, a.syncing = nil, nil
		if !a.stable {
			a.gen = 0
		}
	}
	if !cut {
		require.Equal(h.t, before, h.state())
	}
}

// state is the table's groups. Those in memory whose generation is complete must be what is
// written of them; the rows of others have the generation before.
func (h *history) state() map[string]string {
	state := map[string]string{}
	require.NoError(h.t, h.c.rt.Do(0, func(m *machine, v runtime.View) runtime.Outcome {
		err := v.Scan(nil, nil, func(key, value []byte) bool {
			if recordType(key) == typeGroup {
				name, _, _ := readString(key[2:])
				state[name] = line(h.t, key, value)
			}
			return true
		})
		require.NoError(h.t, err)
		for id, g := range m.groups {
			require.False(h.t, g.idle())
			if g.phase == stable {
				r := groupRecord(id, g.value(g.assignments()))
				require.Equal(h.t, state[id], line(h.t, r.Key, r.Value), "memory is not what is written")
			}
		}
		return runtime.Outcome{}
	}))
	return state
}

// verifyLog reads the whole log: a group's generations never go back unless it was deleted
// between, and every stable generation names a leader that is a member.
func (h *history) verifyLog() {
	last := map[string]int{}
	for _, l := range h.c.log.records(h.t, 0) {
		var name string
		var gen int
		if n, _ := fmt.Sscanf(l, "group %s gen=%d", &name, &gen); n == 2 {
			require.GreaterOrEqual(h.t, gen, last[name], l)
			last[name] = gen
			if strings.Contains(l, "protocol=") {
				require.Equal(h.t, 1, strings.Count(l, "*"), l)
			}
		} else if strings.HasSuffix(l, "gone") {
			delete(last, strings.Fields(l)[1])
		}
	}
	var names []string
	for name := range last {
		names = append(names, name)
	}
	sort.Strings(names)
	h.t.Logf("%d records, groups %v", h.c.log.End(), names)
}

// heartbeatNow and leaveNow do not insist on an answer, which may wait for the log.
func (c *coord) heartbeatNow(group string, w *who) int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, group, w.id, w.gen, w.instance
	p := &reply1[*kmsg.HeartbeatResponse]{t: c.t}
	c.Heartbeat(req, p.set)
	if p.open() {
		return 0
	}
	return p.get().ErrorCode
}

func (c *coord) leaveNow(group string, w *who) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: w.id, InstanceID: w.instance}}
	p := &reply1[*kmsg.LeaveGroupResponse]{t: c.t}
	c.LeaveGroup(req, p.set)
	p.open()
}
