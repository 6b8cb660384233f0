package crash

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/broker"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestPowerCutUnderLoad runs a whole broker over the crash file system and cuts its power at random sync points under load,
// some of the times during an orderly stop or right after it: of what was not synced, a random part survives. (The embedded
// etcd is on the real disk; its own durability is its own.)
func TestPowerCutUnderLoad(t *testing.T) {
	n := 3 + *rounds/2
	if testing.Short() {
		n = 2
	}
	seed := drawSeed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	disk := vfs.NewCrash(seed)
	dir := filepath.Join(t.TempDir(), "data")
	log, lines := warnings(t)
	options := broker.Options{Log: log, FS: disk, DataDir: dir, Listen: []string{freePort(t, rng)}, BrokerID: 1, Settings: brokerSettings}
	b := startBroker(t, options)
	l := newLoad(t, options.Listen[0], seed, shape{})
	var stops, ended int
	for round := range n {
		l.progress(time.Duration(rng.IntN(500)) * time.Millisecond)
		if at := disk.Ops() + 1 + rng.Int64N(300); rng.IntN(3) > 0 {
			disk.CutAt(at, vfs.When(rng.IntN(2)))
			select {
			case <-b.Failed():
			case <-time.After(progressLimit):
				t.Fatalf("seed %d: the broker does not notice that its disk is gone", seed)
			}
			require.Error(t, b.Ready(), "a broker whose disk is gone is not ready")
			requireStops(t, b, false)
		} else {
			disk.CutAt(at, vfs.When(rng.IntN(2)))
			stops++
			if err := stop(b); disk.IsCut() {
				require.Error(t, err, "a stop that could not flush says so")
			} else {
				require.NoError(t, err, "an orderly stop under load")
				ended++
			}
		}
		requireExpected(t, lines.String())
		left := disk.PowerCut(rng.Uint64())
		switch rng.IntN(4) {
		case 0:
			left = disk.PowerCutAll()
		case 1:
			left = disk.PowerCutNone()
		}
		disk = left
		options.FS = disk
		began := time.Now()
		b = startBroker(t, options)
		l.commits.check()
		l.trims.check()
		l.churn.check()
		t.Logf("round %d: restarted in %d ms, %d records acknowledged so far", round+1, time.Since(began).Milliseconds(), l.acknowledged())
	}
	l.progress(0)
	l.stop()
	disk.Cut()
	requireStops(t, b, false)
	options.FS = disk.PowerCutAll()
	b = startBroker(t, options)
	l.verify()
	l.commits.check()
	l.trims.check()
	l.churn.verify()
	t.Log(l.summary())
	t.Logf("%d orderly stops, %d of them to their end before the power went", stops, ended)
	requireStops(t, b, true)
}

func startBroker(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	b, err := broker.Start(ctx, o)
	require.NoError(t, err)
	return b
}

// warnings is a logger and what it wrote, whose last lines are shown when the test fails.
func warnings(t *testing.T) (*zap.Logger, *zaptest.Buffer) {
	lines := &zaptest.Buffer{}
	t.Cleanup(func() {
		if all := lines.Lines(); t.Failed() {
			t.Logf("the broker's last warnings:\n%s", strings.Join(all[max(0, len(all)-40):], "\n"))
		}
	})
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(lines), zap.WarnLevel)), lines
}

// requireStops stops a broker; with a working disk that is an orderly stop.
func requireStops(t *testing.T, b *broker.Broker, orderly bool) {
	t.Helper()
	err := stop(b)
	if orderly {
		require.NoError(t, err)
	} else {
		require.Error(t, err, "a stop that could not flush says so")
	}
}

func stop(b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return b.Stop(ctx)
}
