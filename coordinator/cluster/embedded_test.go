package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func embeddedOptions(dir string) Options {
	return Options{Dir: dir, BrokerID: 1, Clean: true, Listeners: []Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}}}
}

func TestEmbeddedKeepsWhatWasMade(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := filepath.Join(t.TempDir(), "etcd")
	logged, logs := observer.New(zap.WarnLevel)
	o := embeddedOptions(dir)
	o.Log = zap.New(logged)
	c, err := Start(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, int32(1), c.Image().ControllerID)
	topic, err := c.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 300, ReplicationFactor: 1, Configs: map[string]string{"a": "b"}})
	require.NoError(t, err)
	id := c.Image().ClusterID
	require.NoError(t, c.Close(t.Context()))
	require.Empty(t, logs.All(), "a start and a stop warn of nothing")

	o.ClusterID = id
	for _, clean := range []bool{true, false} {
		o.Clean = clean
		c, err = Start(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, id, c.Image().ClusterID)
		again := c.Image().Topic("t")
		require.Equal(t, topic.ID, again.ID)
		require.Len(t, again.Partitions, 300)
		require.Equal(t, map[string]string{"a": "b"}, c.Image().Config(KindTopic, "t"))
		want := int32(0)
		if !clean {
			want = 1
		}
		requirePartition(t, again.Partitions[299], 1, want, want, []int32{1})
		require.NoError(t, c.Close(t.Context()))
	}
	require.Empty(t, logs.All())
}

func TestEmbeddedDirectoryIsHeldByOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	c, err := Start(t.Context(), embeddedOptions(dir))
	require.NoError(t, err)
	began := time.Now()
	_, err = Start(t.Context(), embeddedOptions(dir))
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir)
	require.Less(t, time.Since(began), 10*time.Second, "etcd by itself waits without end")
	require.True(t, c.Active())
	require.NoError(t, c.Close(t.Context()))
	c, err = Start(t.Context(), embeddedOptions(dir))
	require.NoError(t, err, "free again")
	require.NoError(t, c.Close(t.Context()))
}

// TestEmbeddedSurvivesAKill runs a broker in another process that is killed while it makes topics; every one it reported is there after.
func TestEmbeddedSurvivesAKill(t *testing.T) {
	if dir := os.Getenv("CLUSTER_TEST_DIR"); dir != "" {
		makeTopicsForever(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "etcd")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEmbeddedSurvivesAKill$")
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	made := make([]byte, 40)
	for n := 0; n < len(made); {
		got, err := out.Read(made[n:])
		require.NoError(t, err)
		n += got
	}
	_, err = Start(ctx, embeddedOptions(dir))
	require.ErrorIs(t, err, ErrLocked, "while the other process lives")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	o := embeddedOptions(dir)
	o.Clean = false
	began := time.Now()
	c, err := Start(ctx, o)
	require.NoError(t, err)
	require.Less(t, time.Since(began), 10*time.Second, "the dead broker's lease is not waited for")
	require.True(t, c.Active())
	for _, name := range made {
		topic := c.Image().Topic(string(name))
		require.NotNil(t, topic)
		for _, p := range topic.Partitions {
			require.Equal(t, int32(1), p.Leader)
			require.Equal(t, int32(1), p.LeaderEpoch)
		}
	}
	require.NoError(t, c.Close(ctx))
}

// makeTopicsForever prints the name of each topic, one byte, when it is made.
func makeTopicsForever(t *testing.T, dir string) {
	c, err := Start(t.Context(), embeddedOptions(dir))
	require.NoError(t, err)
	for _, name := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" {
		_, err := c.CreateTopic(t.Context(), TopicSpec{Name: string(name), Partitions: 200, ReplicationFactor: 1})
		require.NoError(t, err)
		os.Stdout.WriteString(string(name))
	}
	<-t.Context().Done()
}

func TestEmbeddedSaysWhatIsWrong(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Start(t.Context(), embeddedOptions(filepath.Join(file, "etcd")))
	require.ErrorContains(t, err, file)

	o := embeddedOptions(filepath.Join(base, "new"))
	o.ClusterID = "kW1QqG2iTQaJ6C5YhT9ZkA"
	_, err = Start(t.Context(), o)
	require.ErrorIs(t, err, ErrWrongCluster)
	require.NoDirExists(t, o.Dir, "nothing touched")

	left, err := os.MkdirTemp("", "damaged") // a server that broke while starting may still be preallocating a file here
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(left) == nil }, time.Minute, time.Millisecond)
	})
	dir := filepath.Join(left, "etcd")
	c, err := Start(t.Context(), embeddedOptions(dir))
	require.NoError(t, err)
	_, err = c.CreateTopic(t.Context(), topicOf(1, 1))
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))
	wal, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	require.NoError(t, err)
	content, err := os.ReadFile(wal[0])
	require.NoError(t, err)
	content[60] ^= 0xff
	require.NoError(t, os.WriteFile(wal[0], content, 0o600))
	_, err = Start(t.Context(), embeddedOptions(dir))
	require.ErrorIs(t, err, ErrEtcdFailed, "etcd would have ended the process")
	require.ErrorContains(t, err, dir)
}

func TestEmbeddedFailureIsTold(t *testing.T) {
	c, err := Start(t.Context(), embeddedOptions(filepath.Join(t.TempDir(), "etcd")))
	require.NoError(t, err)
	server := c.store.(*embeddedStore)
	gone := make(chan struct{})
	go func() { // as etcd does when it cannot write
		defer close(gone)
		server.fate.logger(zap.NewNop()).Fatal("failed to save Raft hard state and entries", zap.Error(errors.New("no space left on device")))
		t.Error("went on after a fatal error")
	}()
	<-gone
	<-c.Failed()
	require.ErrorIs(t, c.Err(), ErrEtcdFailed)
	require.ErrorContains(t, c.Err(), "no space left on device")
	<-c.ctx.Done()
	_, err = c.CreateTopic(t.Context(), topicOf(1, 1))
	require.ErrorIs(t, err, ErrEtcdFailed)
	server.server.Stop() // only pretended to be broken: tidy up
	require.NoError(t, c.Close(t.Context()))
}

func TestEmbeddedListensNowhere(t *testing.T) {
	sockets := func() (n int) {
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil || len(fds) == 0 {
			t.Skip("needs /proc")
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	before := sockets()
	c, err := Start(t.Context(), embeddedOptions(filepath.Join(t.TempDir(), "etcd")))
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.Background())) }()
	require.Equal(t, before, sockets())
}
