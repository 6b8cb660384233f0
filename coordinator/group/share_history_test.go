package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestRandomShareHistories has members of two share groups join, speak, leave and fall silent, topics come, grow and go, groups
// be altered and deleted, while the share coordinator refuses and the group coordinator moves or loses power. Whatever happens:
// epochs only grow, memory is what is written, no position is lost by initialising it again; and when all is quiet every
// partition has a member and a state, and there is no state that nobody knows of.
func TestRandomShareHistories(t *testing.T) {
	for i := range 30 {
		seed := uint64(i)
		if i >= 20 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c, w := sharing(t, Config{ShareMaxSize: 5})
				h := &shareHistory{t: t, c: c, w: w, rnd: rand.New(rand.NewPCG(seed, 3)), members: map[string]*sharer{}}
				h.run(300)
			})
		})
	}
}

type shareHistory struct {
	t       *testing.T
	c       *coord
	w       *world
	rnd     *rand.Rand
	members map[string]*sharer
	topics  byte // made so far
}

// sharer is a member as it knows itself.
type sharer struct {
	group, id string
	topics    []string
	epoch     int32
	asked     *beatReply
}

func (h *shareHistory) run(steps int) {
	for range steps {
		h.step()
		h.harvest()
		h.verify()
	}
	h.calm()
	h.quiesce()
	h.restart(false)
}

func (h *shareHistory) step() {
	group := fmt.Sprint("g", h.rnd.IntN(2))
	switch n := h.rnd.IntN(100); {
	case n < 45:
		h.beat(group, fmt.Sprint("m", h.rnd.IntN(6)))
	case n < 50:
		h.leave(group, fmt.Sprint("m", h.rnd.IntN(6)))
	case n < 56:
		h.topic([]string{"a", "b", "n"}[h.rnd.IntN(3)])
	case n < 60:
		h.c.deleteGroupsLater(group)
	case n < 64:
		h.c.alter(group, map[string]int64{"a/0": 1000 + int64(h.rnd.IntN(100))})
	case n < 68:
		h.c.register(group, topicA.id)
	case n < 78:
		time.Sleep(time.Duration(h.rnd.IntN(1500)) * time.Millisecond)
	case n < 79:
		time.Sleep(50 * time.Second)
	case n < 83:
		h.w.holding()
	case n < 87:
		h.w.release()
	case n < 89:
		h.w.failing(runtime.ErrBusy)
	case n < 92:
		h.w.failing(nil)
	case n < 94:
		h.c.log.hold()
	case n < 98:
		h.c.log.release()
	default:
		h.restart(h.rnd.IntN(2) == 0)
	}
}

func (h *shareHistory) beat(group, id string) {
	m := h.members[group+id]
	if m == nil {
		m = &sharer{group: group, id: id}
		h.members[group+id] = m
	}
	if m.asked != nil {
		return
	}
	if m.epoch == 0 || h.rnd.IntN(5) == 0 {
		m.topics = [][]string{{"a"}, {"a", "b"}, {"n"}, {"b", "n", "none"}}[h.rnd.IntN(4)]
		m.asked = h.c.beatLater(group, id, m.epoch, m.topics...)
		return
	}
	m.asked = h.c.beatLater(group, id, m.epoch)
}

func (h *shareHistory) leave(group, id string) {
	h.c.beatLater(group, id, -1)
	if m := h.members[group+id]; m != nil && m.asked == nil {
		delete(h.members, group+id)
	}
}

// topic makes, grows or deletes one.
func (h *shareHistory) topic(name string) {
	id, n, there := h.w.Topic(name)
	switch {
	case !there:
		h.topics++
		h.w.set(name, uuid.ID{0x80, h.topics}, int32(1+h.rnd.IntN(4)))
	case h.rnd.IntN(2) == 0 && n < 8:
		h.w.set(name, id, n+1)
	default:
		h.w.set(name, id, 0)
		h.c.TopicsDeleted([]Topic{{Name: name, ID: id}})
	}
}

// harvest takes answers over. A member that is given a partition begins to read it.
func (h *shareHistory) harvest() {
	for _, m := range h.members {
		if m.asked == nil || m.asked.open() {
			continue
		}
		r := m.asked.get()
		m.asked = nil
		if r.ErrorCode != 0 {
			if r.ErrorCode != 15 && r.ErrorCode != 16 && r.ErrorCode != 14 {
				m.epoch = 0
			}
			continue
		}
		require.GreaterOrEqual(h.t, r.MemberEpoch, m.epoch)
		m.epoch = r.MemberEpoch
		if r.Assignment == nil {
			continue
		}
		h.w.mu.Lock()
		for _, t := range r.Assignment.TopicPartitions {
			for _, p := range t.Partitions {
				k := share.Key{Group: m.group, Topic: t.TopicID, Partition: p}
				if s, ok := h.w.states[k]; ok {
					s.Start = max(s.Start, 0) + 1
					h.w.states[k] = s
				}
			}
		}
		h.w.mu.Unlock()
	}
}

// verify asserts that memory is what is written, and that no position was lost.
func (h *shareHistory) verify() {
	require.Empty(h.t, h.w.lost)
	err := h.c.rt.Do(0, func(m *machine, v runtime.View) runtime.Outcome {
		for id, g := range m.shares {
			assert.False(h.t, g.idle())
			stored, err := m.storedShare(v, id)
			assert.NoError(h.t, err)
			assert.Empty(h.t, g.records(stored), "memory is not what is written")
			assert.Equal(h.t, g.states.value(), stored.states.value())
			assert.LessOrEqual(h.t, g.assigned, g.epoch)
			for _, member := range g.members {
				assert.LessOrEqual(h.t, member.epoch, g.assigned)
			}
		}
		return runtime.Outcome{}
	})
	require.NoError(h.t, err)
	if h.t.Failed() {
		h.t.FailNow()
	}
}

func (h *shareHistory) calm() {
	h.c.log.release()
	h.w.failing(nil)
	h.w.release()
	pass(3 * time.Second)
	h.harvest()
}

// quiesce lets the members speak until nothing changes, and looks at what became of it all.
func (h *shareHistory) quiesce() {
	for range 5 {
		for _, m := range h.members {
			if m.asked == nil {
				h.beat(m.group, m.id)
			}
		}
		pass(1100 * time.Millisecond)
		h.harvest()
		h.verify()
	}
	known := map[share.Key]bool{}
	err := h.c.rt.Do(0, func(m *machine, v runtime.View) runtime.Outcome {
		for _, id := range []string{"g0", "g1"} {
			g, err := m.findShare(v, id)
			assert.NoError(h.t, err)
			if g == nil {
				continue
			}
			assert.False(h.t, g.states.pending())
			for topic, t := range g.states {
				for _, p := range t.initialized {
					known[share.Key{Group: id, Topic: topic, Partition: p}] = true
				}
			}
			for _, name := range g.subscribedNames() {
				topic, n, _ := h.w.Topic(name)
				for p := range n {
					assert.True(h.t, known[share.Key{Group: id, Topic: topic, Partition: p}], "%s has no state of %s/%d", id, name, p)
					assert.True(h.t, g.reader(topic, p), "nobody in %s reads %s/%d", id, name, p)
				}
			}
		}
		return runtime.Outcome{}
	})
	require.NoError(h.t, err)
	for k := range known {
		require.Contains(h.t, h.w.states, k)
	}
	for k := range h.w.states {
		// The share coordinator drops the states of deleted topics by itself.
		if _, _, there := h.w.TopicByID(k.Topic); there {
			require.True(h.t, known[k], "nobody knows of the state of %v", k)
		}
	}
}

func (g *shareGroup) reader(topic uuid.ID, partition int32) bool {
	for _, m := range g.members {
		for _, a := range m.target {
			if a.topic == topic && slices.Contains(a.partitions, partition) {
				return true
			}
		}
	}
	return false
}

// restart makes a new coordinator: from all of the log, or from what a power cut leaves.
func (h *shareHistory) restart(cut bool) {
	c := h.c
	h.w.release() // what was asked of the share coordinator is done before there is another to ask
	before := c.table()
	c.stop()
	if cut {
		c.fs = c.fs.(*vfs.Crash).PowerCut(h.rnd.Uint64())
		c.log.mu.Lock()
		for c.log.endLocked() > c.log.hw && h.rnd.IntN(2) == 0 {
			c.log.batches = c.log.batches[:len(c.log.batches)-1]
		}
		c.log.mu.Unlock()
	}
	c.log.release()
	c.start()
	for _, m := range h.members {
		m.asked = nil
	}
	if !cut {
		for key, row := range c.table() {
			if _, deleted := before[key]; deleted {
				require.Equal(h.t, before[key], row)
			}
		}
	}
}

// table is the rows of share groups.
func (c *coord) table() map[string]string {
	rows := map[string]string{}
	require.NoError(c.t, c.rt.Do(0, func(_ *machine, v runtime.View) runtime.Outcome {
		assert.NoError(c.t, v.Scan(nil, nil, func(key, value []byte) bool {
			if _, _, ok := decodeShareKey(key); ok && recordType(key) != typeShareStates {
				rows[string(key)] = line(c.t, key, value)
			}
			return true
		}))
		return runtime.Outcome{}
	}))
	return rows
}
