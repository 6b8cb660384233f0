package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// session is this broker's presence in the cluster: its lease, its registration, and its candidacy for controller.
type session struct {
	store    Store
	prefix   keys
	view     *view
	log      *zap.Logger
	id       int32
	record   brokerRecord
	timeout  time.Duration
	identity Cond          // that the store holds the cluster it held at the start
	alone    bool          // the store serves this process only: whoever is registered under our id was a predecessor
	ttl      time.Duration // of the lease; Start and then run use it
	lease    atomic.Int64  // LeaseID
	epoch    atomic.Int64  // revision of the registration
	start    time.Time     // what deadline counts from
	deadline atomic.Int64  // nanoseconds after start until which the lease is certainly alive
	ousted   atomic.Bool   // the registration was removed under us
	wake     chan struct{} // has run look at that at once

	// fenceMu is held while fence callbacks run, so that they run in order.
	fenceMu sync.Mutex
	fenced  bool
	lapsed  bool // it was fenced after it had been active
	onFence []func(fenced bool)
	expiry  *time.Timer // fences when the deadline passes
}

func newSession(o Options, store Store, v *view) *session {
	s := &session{
		store: store, prefix: keys(o.Prefix), view: v, log: o.Log, id: o.BrokerID, timeout: o.SessionTimeout, alone: o.Dir != "",
		record: brokerRecord{Incarnation: uuid.New(), Directory: o.DirectoryID, Rack: o.Rack, Listeners: o.Listeners},
		start:  time.Now(), fenced: true, wake: make(chan struct{}, 1),
	}
	s.expiry = time.AfterFunc(time.Hour, s.checkFence)
	s.expiry.Stop()
	return s
}

// Active reports whether the lease is alive by this broker's own clock.
func (s *session) Active() bool { return int64(time.Since(s.start)) < s.deadline.Load() }

// OnFence calls fn with the present state and whenever it changes.
func (s *session) OnFence(fn func(fenced bool)) {
	s.fenceMu.Lock()
	defer s.fenceMu.Unlock()
	fn(s.fenced)
	s.onFence = append(s.onFence, fn)
}

// renewed notes that etcd renewed the lease on a request sent at that time: what etcd counts began later.
func (s *session) renewed(sent time.Time, ttl time.Duration) {
	s.ttl = ttl
	s.deadline.Store(int64(sent.Add(ttl).Sub(s.start)))
	s.checkFence()
}

// gone notes that the lease is not alive any more.
func (s *session) gone() {
	s.deadline.Store(0)
	s.checkFence()
}

// notice fences when an image says that the registration was removed before its time: by an etcd leader that stood still and ended leases by its
// own late clock, or by hand. From there on others may lead what this broker led.
func (s *session) notice(_, im *Image) {
	b := im.Broker(s.id)
	there := b != nil && b.Incarnation == s.record.Incarnation
	if there || im.Revision <= s.epoch.Load() || !s.Active() {
		return
	}
	s.ousted.Store(true)
	s.gone()
	select {
	case s.wake <- struct{}{}:
	default: // one is enough
	}
}

// leave ends the session without telling anybody, and gives the lease to revoke.
func (s *session) leave() LeaseID {
	s.deadline.Store(0)
	s.expiry.Stop()
	return LeaseID(s.lease.Swap(0))
}

func (s *session) checkFence() {
	s.fenceMu.Lock()
	defer s.fenceMu.Unlock()
	left := time.Duration(s.deadline.Load()) - time.Since(s.start)
	if left > 0 {
		s.expiry.Reset(left)
	}
	fenced := left <= 0
	if fenced == s.fenced {
		return
	}
	s.fenced = fenced
	if fenced {
		s.log.Warn("fenced: the broker's lease in etcd ran out; nothing is acknowledged until it has one again", zap.Int32("broker", s.id))
	} else if s.lapsed {
		s.log.Info("the broker has a lease in etcd again", zap.Int32("broker", s.id), zap.Int64("epoch", s.epoch.Load()))
	}
	s.lapsed = s.lapsed || fenced
	for _, fn := range s.onFence {
		fn(fenced)
	}
}

// run keeps the lease alive, and registers again when it was lost, until ctx ends.
func (s *session) run(ctx context.Context) {
	wait := s.ttl / 3
	for {
		s.rest(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		wait = s.ttl / 3
		if err := s.renew(ctx); err != nil {
			s.log.Warn("lease not renewed", zap.Int32("broker", s.id), zap.Bool("active", s.Active()), zap.Error(err))
			wait = min(s.ttl/10, retryMost)
		}
	}
}

// rest pauses, unless there is something to do at once.
func (s *session) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.wake:
	case <-ctx.Done():
	}
}

func (s *session) renew(ctx context.Context) error {
	if s.ousted.Load() {
		return s.register(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, max(s.ttl/3, time.Second))
	defer cancel()
	sent := time.Now()
	ttl, err := s.store.KeepAlive(bounded, LeaseID(s.lease.Load()))
	switch {
	case err == nil:
		s.renewed(sent, ttl)
		return nil
	case errors.Is(err, ErrLeaseGone):
		s.gone()
		return s.register(ctx)
	}
	return err
}

// register gets a lease and puts the registration under it, and the candidacy where the office is free. It answers when the image shows it.
func (s *session) register(ctx context.Context) error {
	sent := time.Now()
	lease, ttl, err := s.store.Grant(ctx, s.timeout)
	if err != nil {
		return fmt.Errorf("register broker %d: %w", s.id, err)
	}
	revision, err := s.claim(ctx, lease)
	if err != nil {
		if err := s.store.Revoke(ctx, lease); err != nil {
			s.log.Warn("lease left to run out", zap.Error(err))
		}
		return fmt.Errorf("register broker %d: %w", s.id, err)
	}
	s.lease.Store(int64(lease))
	s.epoch.Store(revision)
	s.ousted.Store(false)
	if _, err := s.view.awaitRevision(ctx, revision); err != nil {
		return fmt.Errorf("register broker %d: %w", s.id, err)
	}
	s.renewed(sent, ttl)
	return nil
}

// casAttempts is how often a compare-and-swap is tried before it is given up.
const casAttempts = 16

// claim puts the registration. The office of controller is taken in the same transaction when nobody holds it, or when our predecessor does.
func (s *session) claim(ctx context.Context, lease LeaseID) (revision int64, err error) {
	for range casAttempts {
		broker, err := get(ctx, s.store, s.prefix.broker(s.id))
		if err != nil {
			return 0, err
		}
		if broker.ModRevision != 0 && !s.replaces(broker) {
			return 0, fmt.Errorf("%w: id %d", ErrBrokerIDInUse, s.id)
		}
		office, err := get(ctx, s.store, s.prefix.controller())
		if err != nil {
			return 0, err
		}
		if err := s.checkStore(ctx); err != nil {
			return 0, err
		}
		txn := Txn{
			If:   []Cond{s.identity, {Key: broker.Key, Revision: broker.ModRevision}},
			Then: []Op{{Key: broker.Key, Value: encode(s.record), Lease: lease}},
		}
		if s.free(office) {
			txn.If = append(txn.If, Cond{Key: office.Key, Revision: office.ModRevision})
			txn.Then = append(txn.Then, s.candidacy(lease))
		}
		res, err := s.store.Txn(ctx, txn)
		if err != nil || res.Done {
			return res.Revision, err
		}
	}
	return 0, ErrConflict
}

// checkStore refuses a store that lost what this process has seen in it: one that was emptied, or, as far as its revision tells, given back an
// older state. The image would go on showing what is not there, leader epochs and producer ids would be given out again.
func (s *session) checkStore(ctx context.Context) error {
	res, err := s.store.Range(ctx, Range{Prefix: s.identity.Key, Limit: 1})
	switch seen := s.view.Image().Revision; {
	case err != nil:
		return err
	case len(res.KVs) == 0 || res.KVs[0].Key != s.identity.Key || res.KVs[0].ModRevision != s.identity.Revision:
		return fmt.Errorf("%w: %s is not what it was when the broker started: etcd was emptied or replaced", ErrWrongCluster, s.identity.Key)
	case res.Revision < seen:
		return fmt.Errorf("%w: etcd is at revision %d after revision %d was seen: it was restored from a backup; restart the broker",
			ErrWrongCluster, res.Revision, seen)
	}
	return nil
}

// replaces reports whether a registration under our id is one that this process may replace: its own, or that of a predecessor that is surely
// dead because we hold its data directory, or because nobody else can reach this store.
func (s *session) replaces(kv KV) bool {
	var r brokerRecord
	if err := decode(kv.Value, &r); err != nil {
		return true
	}
	return s.alone || r.Incarnation == s.record.Incarnation || !r.Directory.IsZero() && r.Directory == s.record.Directory
}

func (s *session) free(office KV) bool {
	var r controllerRecord
	return office.ModRevision == 0 || decode(office.Value, &r) != nil || r.Broker == s.id
}

func (s *session) candidacy(lease LeaseID) Op {
	return Op{Key: s.prefix.controller(), Value: encode(controllerRecord{Broker: s.id, Incarnation: s.record.Incarnation}), Lease: lease}
}

// get reads one key; a KV with ModRevision 0 is one that does not exist.
func get(ctx context.Context, store Store, key string) (KV, error) {
	res, err := store.Range(ctx, Range{Prefix: key, Limit: 1})
	if err != nil {
		return KV{}, err
	}
	if len(res.KVs) == 0 || res.KVs[0].Key != key {
		return KV{Key: key}, nil
	}
	return res.KVs[0], nil
}
