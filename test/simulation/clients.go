package simulation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Patience is how long a request may take.
const Patience = 40 * time.Second

// Ask sends a request of a principal to a life, and answers its response. An error says that there was none.
func Ask[R kmsg.Response](ctx context.Context, l *Life, principal string, req kmsg.Request) (R, error) {
	var none R
	resp, err := l.Do(ctx, principal, req)
	if err != nil {
		return none, err
	}
	r, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("answered %T", resp)
	}
	return r, nil
}

// Refusal is the error of a response's code and message: nil for code 0, else one that wraps kerr's.
func Refusal(code int16, message string) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", kerr.ErrorForCode(code), message)
}

// passing tells errors that a start of the broker brings.
func passing(err error) bool {
	for _, k := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.NotLeaderForPartition} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// Patiently does what must succeed, again and again while a start of the broker stands in its way. Any other error fails the test.
func (w *World) Patiently(do func() error) {
	w.t.Helper()
	var err error
	for range 400 {
		if err = do(); err == nil || !passing(err) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(w.t, err)
}

// Count is what the broker counts of a queue and of groups that read it, each in its place.
func (w *World) Count(topic uuid.ID, groups ...string) (resp *private.CountQueueResponse) {
	w.t.Helper()
	w.Patiently(func() (err error) {
		l := w.Current()
		ctx, cancel := context.WithTimeout(l.Context(), Patience)
		defer cancel()
		resp, err = Ask[*private.CountQueueResponse](ctx, l, private.Principal, &private.CountQueueRequest{TopicID: topic, Groups: groups})
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		err = Refusal(resp.ErrorCode, resp.ErrorMessage)
		for i := range resp.Groups {
			if err == nil {
				err = Refusal(resp.Groups[i].ErrorCode, resp.Groups[i].Group)
			}
		}
		return err
	})
	return resp
}

// Record is a record of a log.
type Record struct {
	Partition int32
	Offset    int64
	Value     string
	At        time.Time // its timestamp
	Header    map[string]string
}

// Read is all that is committed of a topic, one partition after the other; nothing where there is no such topic.
func (w *World) Read(name string) (out []Record) {
	w.t.Helper()
	l := w.Current()
	topic := l.Cluster.Image().Topic(name)
	if topic == nil {
		return nil
	}
	for n := range topic.Partitions {
		p, err := l.Replicas.Partition(topic.ID, int32(n))
		require.NoError(w.t, err)
		for at := p.LogStart(); at < p.HighWatermark(); {
			got, err := p.Read(replica.Read{Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
			require.NoError(w.t, err)
			buf, err := got.Slice.Bytes(nil)
			require.NoError(w.t, err)
			at = got.Slice.End
			got.Slice.Release()
			EachRecord(w.t, buf, func(r *record.Record) {
				read := Record{Partition: int32(n), Offset: r.Offset, Value: string(r.Value), At: time.UnixMilli(r.Timestamp), Header: map[string]string{}}
				for name, value := range r.Headers() {
					read.Header[string(name)] = string(value)
				}
				out = append(out, read)
			})
		}
	}
	return out
}

// EachRecord goes over the records of the batches in buf, without control batches. What is not sound fails the test. A record is
// valid until do returns.
func EachRecord(t testing.TB, buf []byte, do func(*record.Record)) {
	t.Helper()
	for b, err := range record.Batches(buf) {
		require.NoError(t, err)
		if b.IsControl() {
			continue
		}
		for rec, err := range b.All(1 << 20) {
			require.NoError(t, err)
			do(&rec)
		}
	}
}
