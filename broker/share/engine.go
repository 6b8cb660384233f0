package share

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// State keeps what became of records; *share.Service (coordinator/share) is one. Each done is called once, from any goroutine,
// perhaps before the call returns.
type State interface {
	Read(k share.Key, leaderEpoch int32, done func(share.Stored, error))
	Write(w *share.Write, done func(error))
	Initialize(k share.Key, stateEpoch int32, start int64, done func(error))
	Summary(k share.Key, done func(share.Stored, error))
}

// Options is what an Engine stands on.
type Options struct {
	BrokerID int32
	Replicas *replica.Manager
	State    State
	Image    func() *cluster.Image
	// Start is the broker settings given at start-up, by Kafka's names.
	Start map[string]string
	// CreateTopic makes a topic for dead letters; it answers when the image has it.
	CreateTopic func(context.Context, cluster.TopicSpec) (*cluster.Topic, error)
	// ProducerIDs answers one producer id that nobody has.
	ProducerIDs func(context.Context) (int64, error)
	// Delayed is how many messages wait to enter a topic; nil: none ever do.
	Delayed func(ctx context.Context, topic [16]byte) (int64, error)
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil: none
}

// Engine is the lease engine of one broker: the share partitions whose partitions it leads.
type Engine struct {
	o       Options
	metrics *metrics
	clock   deadlines

	mu struct {
		sync.Mutex
		parts  map[share.Key]*partition
		closed bool
		work   int           // goroutines and callbacks under way
		none   chan struct{} // closed when work falls to 0 after Close began
	}
}

// idleAfter is how long a window is kept that nobody uses: no lease runs, nobody waits.
const idleAfter = 5 * time.Minute

// New makes an engine without partitions.
func New(o Options) (*Engine, error) { panic("soon") }

// start begins a poll. With a time that is up already there is one attempt, the final one, with all places ready.
func (e *Engine) start(p *poll) { panic("soon") }

// partition finds a share partition that is in use, or loads it. done is called once, perhaps before it returns. Errors: see code.
func (e *Engine) partition(k share.Key, done func(*partition, error)) { panic("soon") }

// code is the Kafka error for an error of this package or of what it stands on, with a message for whoever gets one.
func (e *Engine) code(err error, doing string) (code int16, message string) { panic("soon") }

// Apply follows the metadata; it is cluster.OnChange's callback. Polls hear of other settings, windows of deleted topics go.
func (e *Engine) Apply(old, now *cluster.Image) { panic("soon") }

// Forget drops the window of a share partition whose state was altered or deleted.
func (e *Engine) Forget(k share.Key) { panic("soon") }

// Close ends all that waits and waits, within ctx, until nothing of the engine runs.
func (e *Engine) Close(ctx context.Context) error { panic("soon") }

type metrics struct{}
type deadlines struct{}
