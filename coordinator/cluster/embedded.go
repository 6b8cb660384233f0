package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// embeddedStore is an etcd server of one member inside this process, and the Store over it.
//
// It runs etcdserver itself instead of the embed package around it: embed always opens listeners for clients and peers, and this server needs
// neither. Nothing listens, not even on loopback; the client calls the server's functions.
//
// Every change is fsynced before it is answered, as in any etcd. etcd ends its process when its disk fails or is full: it logs at the level
// "fatal". That is turned into Failed here, so that the broker can say so and stop in order; the server is not usable afterwards and is not
// waited for.
type embeddedStore struct {
	etcdStore
	server   *etcdserver.EtcdServer
	lock     *fileutil.LockedFile
	fate     *fate
	room     room
	tasks    sync.WaitGroup
	stopTrim func() // ends trim and waits for it
}

var _ Store = (*embeddedStore)(nil)

const (
	memberName = "embedded"
	// nobody listens here: a member needs a peer address as part of its identity.
	memberURL = "http://127.0.0.1:2380"

	// tick drives etcd's raft. With one member there is nobody to lose an election to, so it is slow, which spares wake-ups; the first election
	// does not wait for it (see elect).
	tick          = 500 * time.Millisecond
	electionTicks = 2
	// commitInterval is how often etcd's database is synced. Its write-ahead log, which is synced before every answer, covers what is in between.
	commitInterval = 500 * time.Millisecond
	// snapshotEvery bounds how many entries a start replays; catchUp is how many stay in raft's memory. No member lags here, but a start
	// would otherwise drop entries that it has replayed while raft, which is told a moment later, still counts on them: elect asks raft to
	// look at them, and raft panics when they are gone. So catchUp is beyond what a start can replay.
	snapshotEvery = 1000
	catchUp       = 2 * snapshotEvery
	// walSegment is the size of the preallocated write-ahead log files, of which there are two or three. etcd's 64 MB is for busier stores.
	walSegment = 16 << 20
	// keepRevisions is the history that stays for watchers that lag; older is compacted every five minutes, or when it takes much space.
	keepRevisions = 5000
	// maxRequest bounds one transaction.
	maxRequest = 4 << 20
)

var setWALSegment = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// openEmbedded starts the server on dir, which it makes when missing. ErrLocked when another process uses dir.
func openEmbedded(ctx context.Context, dir string, log *zap.Logger) (*embeddedStore, error) {
	return openEmbeddedWithin(ctx, dir, roomy, log)
}

func openEmbeddedWithin(ctx context.Context, dir string, within room, log *zap.Logger) (_ *embeddedStore, err error) {
	if err := fileutil.TouchDirAll(log, dir); err != nil {
		return nil, fmt.Errorf("metadata directory %s: %w", dir, err)
	}
	// etcd waits for a lock on its database without end; ours answers at once.
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "LOCK"), unix.O_CREAT|unix.O_RDWR, fileutil.PrivateFileMode)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	} else if err != nil {
		return nil, fmt.Errorf("lock of metadata directory %s: %w", dir, err)
	}
	s := &embeddedStore{lock: lock, fate: newFate(), room: within}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if !hasSnapshot(dir) {
		// Without any snapshot, dropping nothing still drops the first entry (see catchUp), so the first life ends with a snapshot at once.
		if err := s.run(ctx, dir, 1, zap.NewNop()); err != nil { // it is cut short, and would say so
			return nil, fmt.Errorf("metadata directory %s: %w", dir, err)
		}
		s.stop()
		s.fate = newFate()
	}
	if err := s.run(ctx, dir, snapshotEvery, log); err != nil {
		return nil, fmt.Errorf("metadata directory %s: %w", dir, err)
	}
	s.client = v3client.New(s.server)
	if err := s.reclaim(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("metadata directory %s: %w", dir, err)
	}
	s.tasks.Go(func() { s.fate.watch(s.server.StopNotify()) })
	trimming, stopTrim := context.WithCancel(context.Background())
	trimmed := make(chan struct{})
	s.stopTrim = func() {
		stopTrim()
		<-trimmed
	}
	go func() {
		defer close(trimmed)
		s.trim(trimming, log)
	}()
	return s, nil
}

// run starts the server and waits until it leads.
func (s *embeddedStore) run(ctx context.Context, dir string, snapshots uint64, log *zap.Logger) (err error) {
	if s.server, err = s.newServer(dir, snapshots, log); err != nil {
		return err
	}
	s.server.Start()
	if err := s.elect(ctx); err != nil {
		s.stop()
		return err
	}
	return nil
}

func hasSnapshot(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "member", "snap", "*.snap"))
	return err == nil && len(found) > 0
}

// newServer recovers the server from dir. It works in a goroutine of its own, which etcd's fatal errors end, and panics too.
func (s *embeddedStore) newServer(dir string, snapshots uint64, log *zap.Logger) (server *etcdserver.EtcdServer, err error) {
	setWALSegment()
	cfg, err := serverConfig(dir, snapshots, s.room.quota, s.fate.logger(log))
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%w: %v", ErrEtcdFailed, p)
			}
		}()
		server, err = etcdserver.NewServer(cfg)
	}()
	<-done
	switch {
	case s.fate.Err() != nil:
		return nil, s.fate.Err()
	case err != nil && !errors.Is(err, ErrEtcdFailed):
		return nil, fmt.Errorf("%w: %w", ErrEtcdFailed, err)
	}
	return server, err
}

func serverConfig(dir string, snapshots uint64, quota int64, log *zap.Logger) (config.ServerConfig, error) {
	u, err := url.Parse(memberURL)
	if err != nil {
		return config.ServerConfig{}, err
	}
	peer := types.URLs{*u}
	return config.ServerConfig{
		Name: memberName, DataDir: dir,
		PeerURLs: peer, InitialPeerURLsMap: types.URLsMap{memberName: peer}, InitialClusterToken: "tidemark", NewCluster: true,
		TickMs: uint(tick / time.Millisecond), ElectionTicks: electionTicks, PreVote: true, StrictReconfigCheck: true,
		SnapshotCount: snapshots, SnapshotCatchUpEntries: catchUp, MaxSnapFiles: 2, MaxWALFiles: 2,
		BackendBatchInterval: commitInterval, BackendBatchLimit: 10_000, QuotaBackendBytes: quota,
		AutoCompactionMode: "revision", AutoCompactionRetention: keepRevisions,
		MaxTxnOps: MaxTxnOps, MaxRequestBytes: maxRequest,
		WarningApplyDuration: time.Second, WarningUnaryRequestDuration: 2 * time.Second,
		BootstrapTimeout: time.Second, WatchProgressNotifyInterval: 10 * time.Minute, DowngradeCheckTime: time.Hour,
		CompactHashCheckTime: time.Hour, MaxLearners: 1, BcryptCost: 10, TokenTTL: 300, Metrics: "basic",
		V2Deprecation: config.V2DeprDefault, Logger: log, ServerFeatureGate: features.NewDefaultServerFeatureGate(memberName, log),
	}, nil
}

// elect makes the only member lead at once: it tells it that its leader hands over, which starts an election without waiting for ticks. (On
// a fresh directory the first try comes before the member has applied that it is a member, and is refused.)
func (s *embeddedStore) elect(ctx context.Context) error {
	id := uint64(s.server.MemberID())
	for retry := 200 * time.Microsecond; ; retry = min(2*retry, 100*time.Millisecond) {
		select {
		case <-s.server.ReadyNotify():
			return nil
		case <-s.fate.failed:
			return s.fate.Err()
		case <-s.server.StopNotify():
			return fmt.Errorf("%w: stopped while starting", ErrEtcdFailed)
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if s.server.Leader() == 0 {
			// An error says that the server stops, which the loop sees.
			_ = s.server.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &id, To: &id})
		}
		pause(ctx, retry)
	}
}

// Failed is closed when the server broke.
func (s *embeddedStore) Failed() <-chan struct{} { return s.fate.failed }

// Err says why Failed is closed.
func (s *embeddedStore) Err() error { return s.fate.Err() }

// Close stops the server and gives the directory free.
func (s *embeddedStore) Close() error {
	s.stopTrim() // it works on the database, which goes with the server
	err := s.client.Close()
	if errors.Is(err, context.Canceled) { // how an in-process client ends
		err = nil
	}
	s.stop()
	if lockErr := s.lock.Close(); err == nil {
		err = lockErr
	}
	return err
}

func (s *embeddedStore) stop() {
	s.fate.stopping()
	if s.fate.Err() != nil {
		s.tasks.Wait()
		return // parts of the server are gone, and what is left may wait for them
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.server.Stop()
	}()
	select {
	case <-stopped:
	case <-s.fate.failed: // while stopping
	}
	s.tasks.Wait()
}
