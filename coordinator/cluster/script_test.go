package cluster

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// cable is the way of one broker to a shared store. It can be cut, at once or at the n-th transaction from now; then every call fails and
// watches end, as for a process that is cut off or dead.
type cable struct {
	Store
	mu     sync.Mutex
	left   int  // transactions until the cut; negative = never
	answer bool // the last transaction is performed, only its answer is lost
	isCut  bool
	cut    chan struct{}
	txns   int
}

func newCable(s Store) *cable { return &cable{Store: s, left: -1, cut: make(chan struct{})} }

// cutAfter lets n more transactions through. With answerLost one more is performed without an answer.
func (c *cable) cutAfter(n int, answerLost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.answer = n, answerLost
}

func (c *cable) cutNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked()
}

func (c *cable) cutLocked() {
	if !c.isCut {
		c.isCut = true
		close(c.cut)
	}
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.isCut, c.cut = -1, false, make(chan struct{})
}

func (c *cable) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return ErrUnavailable
	}
	return nil
}

func (c *cable) Range(ctx context.Context, r Range) (RangeResult, error) {
	if err := c.check(); err != nil {
		return RangeResult{}, err
	}
	return c.Store.Range(ctx, r)
}

func (c *cable) Txn(ctx context.Context, t Txn) (TxnResult, error) {
	c.mu.Lock()
	lost := false
	if !c.isCut && c.left == 0 {
		lost = c.answer
		c.cutLocked()
	} else if c.left > 0 {
		c.left--
	}
	c.txns++
	refused := c.isCut
	c.mu.Unlock()
	if refused && !lost {
		return TxnResult{}, ErrUnavailable
	}
	res, err := c.Store.Txn(ctx, t)
	if lost {
		return TxnResult{}, ErrUnavailable
	}
	return res, err
}

func (c *cable) Watch(ctx context.Context, prefix string, from int64, fn func([]Event) error) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	go func() {
		select {
		case <-cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.Store.Watch(ctx, prefix, from, fn)
}

func (c *cable) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	if err := c.check(); err != nil {
		return 0, 0, err
	}
	return c.Store.Grant(ctx, ttl)
}

func (c *cable) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.Store.KeepAlive(ctx, id)
}

func (c *cable) Revoke(ctx context.Context, id LeaseID) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.Store.Revoke(ctx, id)
}

func (c *cable) Close() error { return nil }

// directory is the data directory of broker id in these scripts.
func directory(id int32) uuid.ID { return uuid.ID{0: 0xff, 15: byte(id)} }

func options(s Store, id int32) Options {
	return Options{Store: s, BrokerID: id, DirectoryID: directory(id), Clean: true, MaxReplicas: 9,
		Listeners: []Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "127.0.0.1", Port: 9092 + id}}}
}

// join starts broker id on a cable of its own and closes it with the test.
func join(t *testing.T, s Store, id int32, change ...func(*Options)) (*Cluster, *cable) {
	t.Helper()
	line := newCable(s)
	o := options(line, id)
	for _, fn := range change {
		fn(&o)
	}
	c, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	synctest.Wait() // the other brokers know
	return c, line
}

func unclean(o *Options) { o.Clean = false }

// die ends a broker as a kill does: nothing is said to the store.
func die(t *testing.T, c *Cluster, line *cable) {
	t.Helper()
	line.cutNow()
	require.NoError(t, c.Close(context.Background()))
}

// until waits for an image of which ok holds.
func until(t *testing.T, c *Cluster, ok func(*Image) bool) *Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	im, err := c.view.await(ctx, ok)
	require.NoError(t, err, "the image never came")
	return im
}

func topicOf(partitions int32, factor int16) TopicSpec {
	return TopicSpec{Name: "t", Partitions: partitions, ReplicationFactor: factor}
}

// keysLeft lists the names of all keys of a directory.
func keysLeft(t *testing.T, s Store, dir string) []string {
	t.Helper()
	res, err := s.Range(t.Context(), Range{Prefix: DefaultPrefix + dir})
	require.NoError(t, err)
	var names []string
	for _, kv := range res.KVs {
		names = append(names, kv.Key[len(DefaultPrefix):])
	}
	return names
}
