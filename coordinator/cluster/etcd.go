package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// requestTimeout bounds one request to etcd. etcd itself gives up on a proposal after about as long.
const requestTimeout = 7 * time.Second

// maxWatchBatch is about how many events one image takes at most, so that a long queue of changes still shows progress.
const maxWatchBatch = 4096

// etcdStore is the Store over a client of etcd, in-process or remote.
type etcdStore struct {
	client *clientv3.Client
}

var _ Store = (*etcdStore)(nil)

// external is how a remote etcd is reached.
type external struct {
	endpoints          []string
	username, password string
	tls                *tls.Config
}

// openExternal connects and checks that etcd answers.
func openExternal(ctx context.Context, x external, log *zap.Logger) (*etcdStore, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: x.endpoints, Username: x.username, Password: x.password, TLS: x.tls,
		DialTimeout: requestTimeout, DialKeepAliveTime: 3 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		Logger: log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %v: %w: %w", x.endpoints, ErrUnavailable, err)
	}
	s := &etcdStore{client: client}
	if _, err := s.Range(ctx, Range{Prefix: DefaultPrefix, Limit: 1}); err != nil {
		client.Close()
		return nil, fmt.Errorf("etcd at %v: %w", x.endpoints, err)
	}
	return s, nil
}

func (s *etcdStore) Range(ctx context.Context, r Range) (RangeResult, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	end := clientv3.GetPrefixRangeEnd(r.Prefix)
	opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(r.Limit)), clientv3.WithRev(r.Revision)}
	from := r.Prefix
	if r.After != "" {
		from = r.After + "\x00"
	}
	res, err := s.client.Get(ctx, from, opts...)
	if err != nil {
		return RangeResult{}, storeError("range", err)
	}
	out := RangeResult{More: res.More, Revision: res.Header.Revision, KVs: make([]KV, len(res.Kvs))}
	for i, kv := range res.Kvs {
		out.KVs[i] = fromEtcd(kv)
	}
	return out, nil
}

func (s *etcdStore) Txn(ctx context.Context, t Txn) (TxnResult, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conds := make([]clientv3.Cmp, len(t.If))
	for i, c := range t.If {
		if c.Exists {
			conds[i] = clientv3.Compare(clientv3.ModRevision(c.Key), ">", 0)
		} else {
			conds[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision)
		}
	}
	ops := make([]clientv3.Op, len(t.Then))
	for i, op := range t.Then {
		if op.Delete {
			ops[i] = clientv3.OpDelete(op.Key)
		} else {
			ops[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		}
	}
	res, err := s.client.Txn(ctx).If(conds...).Then(ops...).Commit()
	if err != nil {
		return TxnResult{}, storeError("transaction", err)
	}
	return TxnResult{Done: res.Succeeded, Revision: res.Header.Revision}, nil
}

func (s *etcdStore) Watch(ctx context.Context, prefix string, from int64, fn func([]Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Fragments let an answer be larger than gRPC's message limit; the client joins them again.
	answers := s.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithFragment())
	for answer := range answers {
		var events []Event
		for next := true; next; {
			if err := watchError(&answer); err != nil {
				return err
			}
			for _, e := range answer.Events {
				events = append(events, Event{KV: fromEtcd(e.Kv), Deleted: e.Type == clientv3.EventTypeDelete})
			}
			if next = len(events) < maxWatchBatch; next {
				select {
				case answer, next = <-answers:
				default:
					next = false
				}
			}
		}
		if len(events) == 0 {
			continue
		}
		if err := fn(events); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("watch: %w", ErrUnavailable)
}

func watchError(answer *clientv3.WatchResponse) error {
	if answer.CompactRevision != 0 {
		return fmt.Errorf("watch: %w up to %d", ErrCompacted, answer.CompactRevision)
	}
	if err := answer.Err(); err != nil {
		return storeError("watch", err)
	}
	return nil
}

func (s *etcdStore) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	seconds := int64((ttl + time.Second - 1) / time.Second)
	res, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return 0, 0, storeError("lease grant", err)
	}
	return LeaseID(res.ID), time.Duration(res.TTL) * time.Second, nil
}

func (s *etcdStore) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	if err != nil {
		return 0, storeError("lease renewal", err)
	}
	return time.Duration(res.TTL) * time.Second, nil
}

func (s *etcdStore) Revoke(ctx context.Context, id LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.client.Revoke(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) || err == nil {
		return nil
	}
	return storeError("lease revocation", err)
}

func (s *etcdStore) Close() error { return s.client.Close() }

func fromEtcd(kv *mvccpb.KeyValue) KV {
	return KV{Key: string(kv.Key), Value: kv.Value, ModRevision: kv.ModRevision, Lease: LeaseID(kv.Lease)}
}

// storeError names what etcd's errors mean here. Whatever is not a clear refusal leaves the outcome open.
func storeError(what string, err error) error {
	kind := ErrUnavailable
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		kind = ErrCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		kind = ErrLeaseGone
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		kind = ErrTooLarge
	}
	return fmt.Errorf("%s: %w: %w", what, kind, err)
}
