package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Memory is a model of etcd: a Store of the same behaviour without disk, network or goroutines, whose leases run on package time and thus
// under virtual time in a synctest bubble. Several brokers may share one; Close does nothing to it.
type Memory struct {
	mu        sync.Mutex
	revision  int64
	compacted int64
	keys      map[string][]version // oldest first, never empty
	history   []Event              // in order of revision, from compacted on
	leases    map[LeaseID]*memoryLease
	lastLease LeaseID
	changed   chan struct{} // closed and replaced with each revision
}

type version struct {
	KV
	deleted bool
}

type memoryLease struct {
	ttl   time.Duration
	timer *time.Timer
	keys  map[string]bool
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{revision: 1, keys: map[string][]version{}, leases: map[LeaseID]*memoryLease{}, changed: make(chan struct{})}
}

// errTooManyOps is what etcd refuses too.
var errTooManyOps = errors.New("too many operations in a transaction")

// Range implements Store.
func (m *Memory) Range(ctx context.Context, r Range) (RangeResult, error) {
	if err := ctx.Err(); err != nil {
		return RangeResult{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := r.Revision
	if at == 0 {
		at = m.revision
	}
	if at < m.compacted {
		return RangeResult{}, fmt.Errorf("range: %w up to %d", ErrCompacted, m.compacted)
	}
	out := RangeResult{Revision: m.revision}
	for key, versions := range m.keys {
		if kv := asOf(versions, at); kv != nil && strings.HasPrefix(key, r.Prefix) && key > r.After {
			out.KVs = append(out.KVs, *kv)
		}
	}
	sort.Slice(out.KVs, func(i, j int) bool { return out.KVs[i].Key < out.KVs[j].Key })
	if r.Limit > 0 && len(out.KVs) > r.Limit {
		out.KVs, out.More = out.KVs[:r.Limit], true
	}
	return out, nil
}

// asOf is the key's state at a revision, nil when it did not exist.
func asOf(versions []version, revision int64) *KV {
	for i := len(versions) - 1; i >= 0; i-- {
		if v := &versions[i]; v.ModRevision <= revision {
			if v.deleted {
				return nil
			}
			return &v.KV
		}
	}
	return nil
}

// Txn implements Store.
func (m *Memory) Txn(ctx context.Context, t Txn) (TxnResult, error) {
	if err := ctx.Err(); err != nil {
		return TxnResult{}, err
	}
	if len(t.If) > MaxTxnOps || len(t.Then) > MaxTxnOps {
		return TxnResult{}, fmt.Errorf("transaction: %w: %w", ErrUnavailable, errTooManyOps)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range t.If {
		var revision int64
		if kv := asOf(m.keys[c.Key], m.revision); kv != nil {
			revision = kv.ModRevision
		}
		if c.Exists && revision == 0 || !c.Exists && revision != c.Revision {
			return TxnResult{Revision: m.revision}, nil
		}
	}
	for _, op := range t.Then {
		if op.Lease != 0 && m.leases[op.Lease] == nil {
			return TxnResult{}, fmt.Errorf("transaction: %w", ErrLeaseGone)
		}
	}
	m.commit(t.Then)
	return TxnResult{Done: true, Revision: m.revision}, nil
}

// commit performs operations at the next revision, if they change anything.
func (m *Memory) commit(ops []Op) {
	next := m.revision + 1
	for _, op := range ops {
		was := asOf(m.keys[op.Key], m.revision)
		if was == nil && op.Delete {
			continue
		}
		if was != nil && was.Lease != 0 && m.leases[was.Lease] != nil {
			delete(m.leases[was.Lease].keys, op.Key)
		}
		v := version{KV: KV{Key: op.Key, Value: slices.Clone(op.Value), ModRevision: next, Lease: op.Lease}, deleted: op.Delete}
		if op.Delete {
			v.Value, v.Lease = nil, 0
		} else if op.Lease != 0 {
			m.leases[op.Lease].keys[op.Key] = true
		}
		m.keys[op.Key] = append(m.keys[op.Key], v)
		m.history = append(m.history, Event{KV: v.KV, Deleted: v.deleted})
	}
	if len(m.history) > 0 && m.history[len(m.history)-1].ModRevision == next {
		m.revision = next
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, prefix string, from int64, fn func([]Event) error) error {
	for {
		events, changed, err := m.since(prefix, from)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := fn(events); err != nil {
				return err
			}
			from = events[len(events)-1].ModRevision + 1
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Memory) since(prefix string, from int64) ([]Event, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from < m.compacted {
		return nil, nil, fmt.Errorf("watch: %w up to %d", ErrCompacted, m.compacted)
	}
	first := sort.Search(len(m.history), func(i int) bool { return m.history[i].ModRevision >= from })
	var events []Event
	for _, e := range m.history[first:] {
		if strings.HasPrefix(e.Key, prefix) {
			events = append(events, e)
		}
	}
	return events, m.changed, nil
}

// Compact forgets history before a revision, as etcd's operator does.
func (m *Memory) Compact(revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	revision = min(revision, m.revision)
	if revision <= m.compacted {
		return
	}
	m.compacted = revision
	first := sort.Search(len(m.history), func(i int) bool { return m.history[i].ModRevision >= revision })
	m.history = slices.Clone(m.history[first:])
	for key, versions := range m.keys {
		for len(versions) > 1 && versions[1].ModRevision <= revision {
			versions = versions[1:]
		}
		if versions[0].deleted && versions[0].ModRevision < revision && len(versions) == 1 {
			delete(m.keys, key)
			continue
		}
		m.keys[key] = slices.Clone(versions)
	}
}

// Close implements Store: the model outlives its users.
func (m *Memory) Close() error { return nil }
