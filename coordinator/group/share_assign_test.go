package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// TestShareAssignments has members come, go and change their minds, and topics grow, and asserts of every assignment what the
// assigner promises.
func TestShareAssignments(t *testing.T) {
	for i := range 300 {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 1))
		uniform := i%2 == 0
		topics := make([]knownTopic, 1+rnd.IntN(4))
		for j := range topics {
			topics[j] = knownTopic{fmt.Sprint("t", j), uuid.ID{byte(rnd.IntN(256)), byte(j)}, int32(1 + rnd.IntN(6))}
		}
		g := newShareGroup("g")
		for range 20 {
			id := fmt.Sprint("m", rnd.IntN(12))
			switch {
			case rnd.IntN(4) == 0:
				delete(g.members, id)
			case rnd.IntN(8) == 0:
				topics[rnd.IntN(len(topics))].partitions++
			default:
				m := &shareMember{id: id}
				if old := g.members[id]; old != nil {
					m.target = old.target
				}
				for _, topic := range topics {
					if uniform || rnd.IntN(2) == 0 {
						m.topics = append(m.topics, topic.name)
					}
				}
				g.members[id] = m
			}
			d := g.draft()
			d.assign(slices.Clone(topics))
			checkAssignment(t, fmt.Sprintf("seed %d", seed), d, topics, uniform)
			again := d.draft()
			again.assign(slices.Clone(topics))
			checkAssignment(t, fmt.Sprintf("seed %d", seed), again, topics, uniform)
			if uniform && len(d.members) <= partitionsIn(topics) {
				for id, m := range d.members {
					require.Equal(t, m.target, again.members[id].target, "seed %d: what is good stays", seed)
				}
			}
			g = d
		}
	}
}

func partitionsIn(topics []knownTopic) (n int) {
	for _, t := range topics {
		n += int(t.partitions)
	}
	return n
}

func checkAssignment(t *testing.T, seed string, d *shareGroup, topics []knownTopic, uniform bool) {
	t.Helper()
	byID := map[uuid.ID]knownTopic{}
	wanted := map[uuid.ID]bool{}
	for _, topic := range topics {
		byID[topic.id] = topic
		for _, m := range d.members {
			wanted[topic.id] = wanted[topic.id] || slices.Contains(m.topics, topic.name)
		}
	}
	holders := map[string]int{}
	least, most := 1<<30, 0
	for _, m := range d.members {
		load := 0
		for i, part := range m.target {
			require.True(t, i == 0 || compareID(m.target[i-1].topic, part.topic) < 0, seed)
			require.True(t, slices.IsSorted(part.partitions), seed)
			topic := byID[part.topic]
			require.Contains(t, m.topics, topic.name, seed)
			for _, p := range part.partitions {
				require.Less(t, p, topic.partitions, seed)
				holders[fmt.Sprint(topic.name, p)]++
				load++
			}
		}
		least, most = min(least, load), max(most, load)
		if len(m.topics) > 0 {
			require.Positive(t, load, "%s: member %s of %v has nothing", seed, m.id, m.topics)
		}
	}
	for _, topic := range topics {
		for p := range topic.partitions {
			n := holders[fmt.Sprint(topic.name, p)]
			require.True(t, n > 0 || !wanted[topic.id], "%s: nobody has %s/%d", seed, topic.name, p)
			if uniform && len(d.members) > 0 {
				require.Equal(t, (len(d.members)+partitionsIn(topics)-1)/partitionsIn(topics), n, seed)
			}
		}
	}
	if uniform && len(d.members) > 0 {
		require.LessOrEqual(t, most-least, 1, seed)
	}
}

func TestShareAssignmentMovesLittle(t *testing.T) {
	topics := []knownTopic{{"t", uuid.ID{1}, 12}}
	g := newShareGroup("g")
	join := func(id string) int {
		g.members[id] = &shareMember{id: id, topics: []string{"t"}}
		d := g.draft()
		d.assign(topics)
		moved := 0
		for id, m := range g.members {
			for _, part := range m.target {
				for _, p := range part.partitions {
					if now := d.members[id].target; len(now) == 0 || !has(now[0].partitions, p) {
						moved++
					}
				}
			}
		}
		g = d
		return moved
	}
	require.Equal(t, []int{0, 6, 4, 3, 2, 2}, []int{join("a"), join("b"), join("c"), join("d"), join("e"), join("f")})
}

func BenchmarkShareAssign(b *testing.B) {
	topics := []knownTopic{{"t", uuid.ID{1}, 1000}}
	g := newShareGroup("g")
	for i := range 200 {
		id := fmt.Sprint("m", i)
		g.members[id] = &shareMember{id: id, topics: []string{"t"}}
	}
	g.assign(topics)
	delete(g.members, "m7")
	b.ReportAllocs()
	for b.Loop() {
		g.draft().assign(topics)
	}
}
