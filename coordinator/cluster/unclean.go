package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Restart and leader epochs.
//
// Kafka raises the leader epoch of every partition of a broker that restarts, because the broker is fenced and unfenced meanwhile. What that
// protects is this: a record written after the restart must not bear the epoch of a record that was lost at the same offset, else followers
// and consumers that saw the lost one cannot tell (KIP-101, KIP-320).
//
// After a clean stop nothing was lost and, on a cluster of one, nobody else led; so epochs stay, and a restart writes two keys however many
// partitions there are. After any other end the broker raises the epochs itself, before it registers and thus before it may lead: 120
// partitions a transaction, several under way at a time (see BenchmarkStart). Whether the stop was clean is for the data directory
// to say, not for etcd: the marker lies beside the logs it speaks of. Where other brokers are alive, the controller has moved the leaders of a
// broker whose lease ended, clean or not, and moves them back with new epochs.

// settleCrash is what a broker does before it registers after an unclean end. Its guard is the registration of its predecessor as it found it,
// absent or left behind: nobody else may take this id meanwhile.
func settleCrash(ctx context.Context, s *session) error {
	im := s.view.Image()
	others := aliveIn(im)
	alive := func(id int32) bool { return id != s.id && others(id) }
	decide := func(p Partition) (Partition, bool) { return afterCrash(p, s.id, alive) }
	refs := affected(im, decide)
	if len(refs) == 0 {
		return nil
	}
	registered := Cond{Key: s.prefix.broker(s.id)}
	if b := im.Broker(s.id); b != nil {
		registered.Revision = b.Epoch
	}
	w := writer{store: s.store, prefix: s.prefix, guard: []Cond{registered}}
	revision, err := w.rewrite(ctx, refs, decide)
	if err != nil {
		return fmt.Errorf("raise epochs of %d partitions after an unclean stop: %w", len(refs), err)
	}
	if _, err := s.view.awaitRevision(ctx, revision); err != nil {
		return err
	}
	s.log.Info("leader epochs raised after an unclean stop", zap.Int32("broker", s.id), zap.Int("partitions", len(refs)))
	return nil
}

// awaitPredecessor waits until a registration under our id that we may not replace has run out. ErrBrokerIDInUse when it does not within the
// time its lease can take: then another broker lives under this id.
func awaitPredecessor(ctx context.Context, s *session) error {
	kv, err := get(ctx, s.store, s.prefix.broker(s.id))
	if err != nil || kv.ModRevision == 0 || s.replaces(kv) {
		return err
	}
	s.log.Info("waiting for the lease of another registration under this broker id", zap.Int32("broker", s.id), zap.Duration("at most", s.timeout))
	inUse := fmt.Errorf("%w: id %d is registered and its lease is kept alive", ErrBrokerIDInUse, s.id)
	bounded, cancel := context.WithTimeoutCause(ctx, s.timeout+2*time.Second, inUse)
	defer cancel()
	_, err = s.view.await(bounded, func(im *Image) bool { return im.Broker(s.id) == nil })
	if errors.Is(err, ErrBrokerIDInUse) {
		return inUse
	}
	return err
}
