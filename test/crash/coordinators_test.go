package crash

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// The rules of "Coordinators", for the group coordinator over real partitions; coordinator/runtime has them for any machine.

func (m *machine) offsetsTopic() error {
	if err := m.topic(offsetsTopic, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}); err != nil {
		return err
	}
	m.loaded()
	return nil
}

// Rule 1: whatever the broker's default, what a coordinator acknowledges is on disk.
func TestCoordinatorRule01InternalTopicsAlwaysFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		faults := vfs.NewFaults(disk)
		m := newMachine(t, faults)
		m.start["log.flush.interval.messages"] = "100000"
		require.NoError(t, m.begin())
		require.NoError(t, m.topic("t", nil))
		require.NoError(t, m.offsetsTopic())
		trap := vfs.NewTrap()
		faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Hold: trap})
		c := &client{topic: "t", id: 1, acks: -1}
		require.NoError(t, all(m, c.send(1, 10), settle))
		require.Empty(t, c.open(), "other topics follow the default: the page cache is enough")
		answer := m.commit("g", 5)
		require.NoError(t, settle(m))
		require.ErrorIs(t, answer(), errPending)
		trap.Release()
		require.NoError(t, settle(m))
		require.NoError(t, answer())
		disk.Cut()
		m.crash()
		m.fs = disk.PowerCutAll()
		require.NoError(t, m.begin())
		m.loaded()
		require.EqualValues(t, 5, m.committed("g"))
		require.NoError(t, m.end())
	})
}

// Rules 1 to 4: acknowledged offsets never go back, at whatever sync point the power goes, with views behind the log or gone, and
// with the offsets topic compacted meanwhile.
func TestCoordinatorRules01To04CommittedOffsetsNeverGoBack(t *testing.T) {
	groups := []string{"a", "b", "c"}
	acked := map[string]int64{}
	commits := func(n int) step {
		return func(m *machine) error {
			for range n {
				for i, g := range groups {
					offset := acked[g] + int64(i) + 1
					answer := m.commit(g, offset)
					if err := settle(m); err != nil {
						return err
					}
					switch err := answer(); {
					case err == nil:
						acked[g] = offset
					case errors.Is(err, errPending), errors.Is(err, kerr.NotCoordinator), errors.Is(err, kerr.CoordinatorLoadInProgress),
						errors.Is(err, kerr.CoordinatorNotAvailable), errors.Is(err, kerr.RequestTimedOut):
						return vfs.ErrCut
					default:
						require.NoError(m.t, err)
					}
				}
			}
			return nil
		}
	}
	script(t, func(m *machine) error {
		clear(acked)
		return m.offsetsTopic()
	}, func(m *machine) error {
		return all(m, commits(8), later(20*time.Second), commits(60), later(40*time.Second), commits(8), settle)
	}, func(m *machine) {
		for range 2 {
			m.loaded()
			for g, offset := range acked {
				require.GreaterOrEqual(m.t, m.committed(g), offset, "group %s", g)
			}
			before := acked[groups[0]]
			for g := range acked {
				acked[g] = m.committed(g)
			}
			require.NoError(m.t, commits(2)(m))
			require.Greater(m.t, acked[groups[0]], before, "the coordinator goes on")
			next := left(m.fs.(*vfs.Crash), 0)
			m.crash()
			m.fs = next
			require.NoError(m.t, m.begin())
		}
		m.loaded()
		for g, offset := range acked {
			require.Equal(m.t, offset, m.committed(g))
		}
	})
}
