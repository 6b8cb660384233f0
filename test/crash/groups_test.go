package crash

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// commits is what consumer groups do: the offsets that the broker acknowledged must never go back.
type commits struct {
	l *load
	marker

	mu    sync.Mutex
	acked map[string]map[int32]int64 // by group and partition of "small"
}

const (
	liveGroup   = "members"  // a consumer that polls and commits, and keeps its place over restarts
	simpleGroup = "assigned" // commits without membership, counting up
)

func startCommits(l *load) *commits {
	c := &commits{l: l, acked: map[string]map[int32]int64{liveGroup: {}, simpleGroup: {}}}
	l.work.Go(c.member)
	l.work.Go(c.simple)
	return c
}

func (c *commits) took(group string, offsets map[int32]int64) {
	c.mu.Lock()
	maps.Copy(c.acked[group], offsets)
	c.mu.Unlock()
	c.hit()
}

func (c *commits) member() {
	cl := c.l.client(kgo.ConsumerGroup(liveGroup), kgo.ConsumeTopics("small"), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond), kgo.HeartbeatInterval(500*time.Millisecond))
	defer func() {
		cl.CloseAllowingRebalance()
	}()
	for c.l.ctx.Err() == nil {
		fetches := cl.PollFetches(c.l.ctx)
		next := map[int32]int64{}
		fetches.EachRecord(func(r *kgo.Record) { next[r.Partition] = r.Offset + 1 })
		if len(next) > 0 {
			if err := cl.CommitUncommittedOffsets(c.l.ctx); err == nil {
				c.took(liveGroup, next)
			} else if errors.Is(err, kerr.UnknownServerError) {
				c.l.fail("commit of a member: %w", err)
			} else if !transient(err) {
				c.l.t.Logf("commit of a member: %v", err) // it was thrown out of the group meanwhile and joins again
			}
		}
		cl.AllowRebalance()
	}
}

func (c *commits) simple() {
	adm := kadm.NewClient(c.l.client())
	defer adm.Close()
	for n := int64(1); c.l.pause(2 * time.Millisecond); n++ {
		var offsets kadm.Offsets
		offsets.AddOffset("small", 0, n, -1)
		offsets.AddOffset("small", 2, 2*n, -1)
		answers, err := adm.CommitOffsets(c.l.ctx, simpleGroup, offsets)
		if err == nil {
			err = answers.Error()
		}
		switch {
		case err == nil:
			c.took(simpleGroup, map[int32]int64{0: n, 2: 2 * n})
		case !transient(err):
			c.l.fail("commit of offset %d: %w", n, err)
		}
	}
}

// check compares the committed offsets with those acknowledged before.
func (c *commits) check() {
	c.l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	for _, group := range []string{liveGroup, simpleGroup} {
		c.mu.Lock()
		before := maps.Clone(c.acked[group])
		c.mu.Unlock()
		answers, err := ask(ctx, func() (kadm.OffsetResponses, error) { return c.l.adm.FetchOffsets(ctx, group) })
		require.NoError(c.l.t, err)
		for p, offset := range before {
			got, found := answers.Lookup("small", p)
			require.True(c.l.t, found, "seed %d: group %s: the offset committed for partition %d, %d, is gone", c.l.seed, group, p, offset)
			require.NoError(c.l.t, got.Err)
			require.GreaterOrEqual(c.l.t, got.At, offset, "seed %d: group %s: the offset committed for partition %d", c.l.seed, group, p)
		}
	}
}
