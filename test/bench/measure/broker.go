package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// node is a broker in a directory of its own, which may be stopped and started again.
type node struct {
	*harness.Broker
	dir string
}

func newNode() (*node, error) {
	dir, err := os.MkdirTemp("", "tidemark-measure-")
	if err != nil {
		return nil, err
	}
	return &node{dir: dir}, nil
}

// start starts the broker and answers how long it took to say that it is ready.
func (n *node) start() (time.Duration, error) {
	var args []string
	for s := range strings.SplitSeq(*settings, ",") {
		if s != "" {
			args = append(args, "--set", s)
		}
	}
	began := time.Now()
	b, err := harness.Launch(*binary, harness.Options{DataDir: filepath.Join(n.dir, "data"), Args: args}, nil)
	if err != nil {
		return 0, err
	}
	n.Broker = b
	return time.Since(began), nil
}

// remove ends the broker and removes its directory.
func (n *node) remove() {
	if n.Broker != nil {
		n.Kill()
	}
	_ = os.RemoveAll(n.dir)
}

func (n *node) client(opts ...kgo.Opt) (*kgo.Client, error) { return clientOf(n.Addr, opts...) }

func clientOf(address string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(address), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression())}, opts...)...)
}

// create makes topics of as many partitions each.
func (n *node) create(ctx context.Context, each int, names ...string) error {
	cl, err := n.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(60_000)
	for _, name := range names {
		if _, err := adm.CreateTopic(ctx, int32(each), 1, nil, name); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

// usage is what the broker's process holds and has used.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
	files    int
	written  int64 // bytes handed to the file system
}

func (n *node) usage() (usage, error) { return usageOf(n.PID) }

func usageOf(pid int) (usage, error) {
	var u usage
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on Linux
	}
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.resident = kib << 10
		}
	}
	if u.written, err = writtenBytes(filepath.Join(proc, "io")); err != nil {
		return u, err
	}
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	u.files = len(files)
	return u, err
}

func writtenBytes(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no write_bytes", path)
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
