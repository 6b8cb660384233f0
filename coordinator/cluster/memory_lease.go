package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Grant implements Store. Like etcd it counts in whole seconds.
func (m *Memory) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	ttl = max((ttl + time.Second - 1).Truncate(time.Second), time.Second)
	m.lastLease++
	id := m.lastLease
	m.leases[id] = &memoryLease{ttl: ttl, keys: map[string]bool{}, timer: time.AfterFunc(ttl, func() { m.end(id) })}
	return id, ttl, nil
}

// KeepAlive implements Store.
func (m *Memory) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil || !l.timer.Stop() { // a timer that fired is about to end the lease
		return 0, fmt.Errorf("lease renewal: %w", ErrLeaseGone)
	}
	l.timer.Reset(l.ttl)
	return l.ttl, nil
}

// Revoke implements Store.
func (m *Memory) Revoke(ctx context.Context, id LeaseID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.end(id)
	return nil
}

func (m *Memory) end(id LeaseID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil {
		return
	}
	l.timer.Stop()
	var ops []Op
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		ops = append(ops, Op{Key: key, Delete: true})
	}
	m.commit(ops)
	delete(m.leases, id)
}
