package share

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func lease(first, last int64, holder string) Batch {
	return Batch{First: first, Last: last, State: Acquired, Deliveries: 1, Holder: holder, Until: 1_800_000_000_000}
}

func done(first, last int64) Batch {
	return Batch{First: first, Last: last, State: Acknowledged, Deliveries: 1}
}

// TestRecords asserts what each operation writes, and what is there after it.
func TestRecords(t *testing.T) {
	steps := []struct {
		name    string
		op      func(c *coord) error
		err     error
		records []string
		start   int64
		batches string
	}{
		{"write before initialize", func(c *coord) error { return c.write(&Write{Key: key}) }, kerr.InvalidRequest, nil, -1, ""},
		{"initialize", func(c *coord) error { return c.init(key, 3, 10) }, nil,
			[]string{"g/0 snapshot 0: state 3 leader 0 start 10 complete 0"}, 10, ""},
		{"initialize again", func(c *coord) error { return c.init(key, 3, 0) }, nil, nil, 10, ""},
		{"initialize, older", func(c *coord) error { return c.init(key, 2, 0) }, kerr.FencedStateEpoch, nil, 10, ""},
		{"newer leader reads", func(c *coord) error { _, err := c.read(key, 5); return err }, nil,
			[]string{"g/0 update of 0: leader 5 merging start 10 complete 0"}, 10, ""},
		{"older leader reads", func(c *coord) error { _, err := c.read(key, 4); return err }, kerr.FencedLeaderEpoch, nil, 10, ""},
		{"acquire", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Start: -1, Batches: []Batch{lease(10, 14, "a"), lease(15, 19, "b")}})
		}, nil, []string{"g/0 update of 0: leader 5 start 10 complete 0 10-14:1*1@a<1800000000000 15-19:1*1@b<1800000000000"},
			10, "10-14:1*1@a<1800000000000 15-19:1*1@b<1800000000000"},
		{"accept out of order", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Start: -1, Batches: []Batch{done(12, 16)}, Add: Counters{Accepted: 5}})
		}, nil, []string{"g/0 update of 0: leader 5 start 10 complete 5 counters {5 0 0 0 0} 12-16:2*1"},
			10, "10-11:1*1@a<1800000000000 12-16:2*1 17-19:1*1@b<1800000000000"},
		{"accept the first: the start moves", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Start: -1, Batches: []Batch{done(10, 11)}, Add: Counters{Accepted: 2}})
		}, nil, []string{"g/0 update of 0: leader 5 start 17 complete 0 counters {7 0 0 0 0}"}, 17, "17-19:1*1@b<1800000000000"},
		{"fail and back off", func(c *coord) error {
			failed := Batch{First: 17, Last: 17, State: Available, Deliveries: 1, Failures: 1, Until: 99}
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Start: -1, Batches: []Batch{failed}})
		}, nil, []string{"g/0 update of 0: leader 5 start 17 complete 0 17-17:0*1!1<99"}, 17, "17-17:0*1!1<99 18-19:1*1@b<1800000000000"},
		{"dead letter", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Start: -1, Producer: &Producer{ID: 4, Sequence: 1},
				Batches: []Batch{{First: 18, Last: 18, State: Archiving, Deliveries: 9, Intent: &Intent{ProducerID: 4, Cause: "x"}}}})
		}, nil, []string{"g/0 update of 0: leader 5 start 17 complete 0 producer 4/0/1 18-18:3*9->4/0"},
			17, "17-17:0*1!1<99 18-18:3*9->4/0 19-19:1*1@b<1800000000000"},
		{"older state epoch", func(c *coord) error { return c.write(&Write{Key: key, StateEpoch: 2, LeaderEpoch: 5}) }, kerr.FencedStateEpoch, nil,
			17, "17-17:0*1!1<99 18-18:3*9->4/0 19-19:1*1@b<1800000000000"},
		{"older leader", func(c *coord) error { return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 4}) }, kerr.FencedLeaderEpoch, nil,
			17, "17-17:0*1!1<99 18-18:3*9->4/0 19-19:1*1@b<1800000000000"},
		{"a batch of no offsets", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 5, Batches: []Batch{{First: 4, Last: 3}}})
		}, kerr.InvalidRequest, nil, 17, "17-17:0*1!1<99 18-18:3*9->4/0 19-19:1*1@b<1800000000000"},
		{"skip", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 6, Start: 19, Add: Counters{Skipped: 2}})
		}, nil, []string{"g/0 update of 0: leader 6 start 19 complete 0 counters {7 0 0 0 2}"}, 19, "19-19:1*1@b<1800000000000"},
		{"a lower start is not taken back", func(c *coord) error {
			return c.write(&Write{Key: key, StateEpoch: 3, LeaderEpoch: 6, Start: 5, Batches: []Batch{done(5, 18)}})
		}, nil, []string{"g/0 update of 0: leader 6 start 19 complete 0"}, 19, "19-19:1*1@b<1800000000000"},
		{"initialize anew", func(c *coord) error { return c.init(key, 4, -1) }, nil,
			[]string{"g/0 snapshot 1: state 4 leader 0 fence 6 start -1 complete -1"}, -1, ""},
		{"delete", func(c *coord) error { return c.remove(key) }, nil, []string{"g/0 gone"}, -1, ""},
		{"delete again", func(c *coord) error { return c.remove(key) }, nil, nil, -1, ""},
	}
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		for _, s := range steps {
			t.Log(s.name)
			end := c.log.End()
			err := s.op(c)
			if s.err == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, s.err)
			}
			require.Equal(t, s.records, c.log.records(t, end))
			st := c.state(key)
			require.Equal(t, s.start, st.Start)
			require.Equal(t, s.batches, show(st.Batches))
		}
	})
}

// TestPartitionIsKafkas has keys where Kafka keeps them.
func TestPartitionIsKafkas(t *testing.T) {
	id, err := uuid.Parse("ACSbcutfRJSXGg0UplWNKg")
	require.NoError(t, err)
	require.EqualValues(t, 20, PartitionFor(Key{"sg", id, 0}, 50))
}

// TestNothingIsShared changes what was given and what was got: the state stays.
func TestNothingIsShared(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.NoError(t, c.init(key, 1, 0))
		w := &Write{Key: key, StateEpoch: 1, Producer: &Producer{ID: 1}, Batches: []Batch{{Last: 1, State: Archiving, Intent: &Intent{Cause: "a"}}}}
		require.NoError(t, c.write(w))
		w.Producer.ID, w.Batches[0].Intent.Cause, w.Batches[0].Last = 2, "b", 3
		for range 2 {
			s := c.mustRead(key, 0)
			require.EqualValues(t, 1, s.Producer.ID)
			require.Equal(t, "a", s.Batches[0].Intent.Cause)
			require.EqualValues(t, 1, s.Batches[0].Last)
			s.Producer.ID, s.Batches[0].Intent.Cause, s.Batches[0].Last = 2, "b", 3
		}
	})
}

// TestManyAtOnce has goroutines settle a window together while others look.
func TestManyAtOnce(t *testing.T) {
	const workers, each = 8, 100
	c := coordinator(t, Config{SnapshotUpdates: 20})
	ok := make(chan error, 1)
	c.Initialize(key, 1, 0, func(err error) { ok <- err })
	require.NoError(t, <-ok)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				at := int64(i*workers + w)
				wait := make(chan error, 3)
				c.Write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(at, at)}, Add: Counters{Accepted: 1}}, func(err error) { wait <- err })
				c.Summary(key, func(_ Stored, err error) { wait <- err })
				c.Read(key, 0, func(_ Stored, err error) { wait <- err })
				for range 3 {
					if err := <-wait; err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	s := c.state(key)
	require.EqualValues(t, workers*each, s.Start)
	require.EqualValues(t, workers*each, s.Counters.Accepted)
	require.Empty(t, s.Batches)
}
