package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// room is how much disk the database of an embedded etcd may take. Beyond its quota etcd raises an alarm and refuses every change until an
// operator reclaims space; here there is none, so history is given up before it comes to that; should it come to that all the same, by changes faster than
// freed room is found again, or in an earlier life, the file is rewritten and the alarm ended.
type room struct {
	quota int64         // of etcd
	slack int64         // how much may be written before history is compacted out of turn
	look  time.Duration // how often that is looked at
}

// roomy: 100,000 partitions take some tens of MiB, and no disk writes the quota between two looks.
var roomy = room{quota: 4 << 30, slack: 256 << 20, look: 3 * time.Second}

// keepUnderPressure is the history that stays when space is short.
const keepUnderPressure = 100

// trim compacts history out of turn when much was written since the last time: etcd's own turns come by time only, and what is compacted away is
// room that the database file uses again.
func (s *embeddedStore) trim(ctx context.Context, log *zap.Logger) {
	tick := time.NewTicker(s.room.look)
	defer tick.Stop()
	for least := s.server.Backend().SizeInUse(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-s.server.StopNotify():
			return
		case <-s.fate.failed:
			return
		}
		if err := s.reclaim(ctx); err != nil {
			log.Warn("space of the metadata not reclaimed", zap.Error(err))
		}
		size := s.server.Backend().SizeInUse()
		least = min(least, size)
		if size-least < s.room.slack {
			continue
		}
		if err := s.compact(ctx, s.server.KV().Rev()-keepUnderPressure); err != nil {
			log.Warn("history of the metadata not compacted", zap.Int64("bytes", size), zap.Error(err))
			continue
		}
		least = size // it falls as the freed pages are committed
	}
}

// compact gives up the history below a revision. It answers when that is done.
func (s *embeddedStore) compact(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if revision <= s.server.KV().FirstRev() {
		return nil
	}
	if _, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return storeError("compaction", err)
	}
	return nil
}

// reclaim ends the alarm of a database over its quota, which outlives restarts: it compacts all history and rewrites the file.
func (s *embeddedStore) reclaim(ctx context.Context) error {
	full := slices.ContainsFunc(s.server.Alarms(), func(a *etcdserverpb.AlarmMember) bool { return a.Alarm == etcdserverpb.AlarmType_NOSPACE })
	if !full {
		return nil
	}
	if err := s.compact(ctx, s.server.KV().Rev()); err != nil {
		return err
	}
	if err := s.server.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	if _, err := s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return storeError("disarm the alarm for space", err)
	}
	return nil
}
