package cluster

import (
	"context"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startServer runs an etcd that listens on unix sockets, as the external one.
func startServer(t *testing.T) (endpoint string, stop func()) {
	t.Helper()
	dir := t.TempDir()
	socket := func(name string) url.URL { return url.URL{Scheme: "unix", Path: filepath.Join(dir, name)} }
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{socket("client")}, []url.URL{socket("client")}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{socket("peer")}, []url.URL{socket("peer")}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(cfg)
	require.NoError(t, err)
	stop = sync.OnceFunc(func() {
		server.Server.HardStop() // without waiting for clients
		server.Close()
	})
	t.Cleanup(stop)
	<-server.Server.ReadyNotify()
	return "unix://" + filepath.Join(dir, "client"), stop
}

func TestExternalEtcdWithTwoBrokers(t *testing.T) {
	endpoint, _ := startServer(t)
	begin := func(id int32, prefix string) *Cluster {
		c, err := Start(t.Context(), Options{Endpoints: []string{endpoint}, Prefix: prefix, BrokerID: id, DirectoryID: directory(id), Clean: true, MaxReplicas: 9, SessionTimeout: 3 * time.Second})
		require.NoError(t, err)
		return c
	}
	c1, c2 := begin(1, ""), begin(2, "")
	apart := begin(1, "other/")
	require.NotEqual(t, c1.Image().ClusterID, apart.Image().ClusterID)
	require.Equal(t, c1.Image().ClusterID, c2.Image().ClusterID)
	require.Equal(t, int32(1), c2.Image().ControllerID)

	_, err := c1.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 1000, ReplicationFactor: 2})
	require.NoError(t, err)
	until(t, c2, func(im *Image) bool { return im.NumPartitions() == 1000 })
	require.Zero(t, apart.Image().NumTopics())
	require.NoError(t, c1.Close(context.Background()))

	until(t, c2, func(im *Image) bool {
		return im.ControllerID == 2 && !slices.ContainsFunc(im.Topic("t").Partitions, func(p Partition) bool { return p.Leader != 2 })
	})
	require.NoError(t, c2.Close(context.Background()))
	require.NoError(t, apart.Close(context.Background()))
}

func TestExternalEtcdThatIsAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	missing := "unix://" + filepath.Join(t.TempDir(), "nobody")
	_, err := Start(ctx, Options{Endpoints: []string{missing}, BrokerID: 1})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, missing)
}

func TestExternalEtcdThatGoesAway(t *testing.T) {
	t.Parallel() // etcd takes five seconds to go
	endpoint, stop := startServer(t)
	c, err := Start(t.Context(), Options{Endpoints: []string{endpoint}, BrokerID: 1, Clean: true, SessionTimeout: 2 * time.Second})
	require.NoError(t, err)
	fenced := make(chan bool, 10)
	c.OnFence(func(f bool) { fenced <- f })
	require.False(t, <-fenced)
	stop()
	require.True(t, <-fenced)
	require.False(t, c.Active())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err = c.AllocateProducerIDs(ctx)
	require.ErrorIs(t, err, ErrUnavailable)
	require.NoError(t, c.Close(ctx))
}
