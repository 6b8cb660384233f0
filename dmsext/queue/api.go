package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is the broker's front door.
type Broker interface {
	// Do answers a request as from that principal; broker.Broker.Do.
	Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error)
}

// Error is a refusal or failure in the words of the DMS service: Status is the HTTP status, Code the service's number
// (DMS reference, section 10.2).
type Error struct {
	Status     int
	Code       int
	Message    string
	RetryAfter time.Duration // for Status 429 and 503; 0: not said
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Message) }

// Mode is a queue's mode.
type Mode string

// The modes (DMS reference 2.1).
const (
	Normal  Mode = "NORMAL"
	FIFO    Mode = "FIFO"
	KafkaHA Mode = "KAFKA_HA"
	KafkaHT Mode = "KAFKA_HT"
)

// Kafka tells whether the mode is one of a Kafka queue.
func (m Mode) Kafka() bool { return m == KafkaHA || m == KafkaHT }

// NewQueue is what a queue is made with. Zero values stand for the defaults.
type NewQueue struct {
	Name            string
	Mode            Mode
	Description     *string
	Redrive         bool
	MaxConsumeCount int // with Redrive
	RetentionHours  int // Kafka queues; 0: 72
	// Beyond the DMS service: for the tools and for tests.
	Partitions   int    // NORMAL and Kafka queues; 0: the service's default
	RetryBackoff string // as share.retry.backoff.ms; "": none
}

// Queue is a queue as it is shown.
type Queue struct {
	ID              string
	Name            string
	Mode            Mode
	Description     *string
	Created         time.Time
	Retention       time.Duration
	MaxMessageBytes int
	Messages        int64 // in it now
	Redrive         bool
	MaxConsumeCount int
	Groups          int
	Topic           string
	KafkaTopic      string // of Kafka queues only
	Partitions      int
	RetryBackoff    string // as share.retry.backoff.ms; "": none
}

// Group is a consumer group.
type Group struct {
	ID, Name             string
	Created              time.Time
	Produced             int64 // messages in the queue
	Consumed             int64 // accepted, given up by a consumer (rejected), or gone to the dead letters
	Available            int64 // not settled; what is leased included
	InFlight             int64 // leased now
	Filtered             int64
	Skipped              int64 // removed by retention before they were settled
	ProducedDeadLetters  int64
	AvailableDeadLetters int64
}

// GroupsQuery is what of groups is asked for. Counts false leaves the counters 0.
type GroupsQuery struct{ Counts bool }

// GroupList is a queue's groups in the order of their creation.
type GroupList struct {
	Queue  Queue
	Groups []Group
}

// Message is one to be sent. Body is its JSON text, kept byte for byte.
type Message struct {
	Body       json.RawMessage
	Attributes []Attribute
	Labels     []string
	Delay      time.Duration // whole milliseconds
	// Size is the bytes of the JSON text that the message came as; it is what limits count. 0: about what that text would take.
	// It is not set in a Received.
	Size int
}

// Attribute is a message's attribute; Value is JSON text of a scalar.
type Attribute struct {
	Name  string
	Value json.RawMessage
}

// Sent is what became of a message: ID when it is stored, or why it is not.
type Sent struct {
	ID  string
	Err *Error
}

// Receive is one retrieval.
type Receive struct {
	Max         int           // 1-10
	Wait        time.Duration // for the first message
	AckWait     time.Duration
	Labels      []string
	AllLabels   bool
	DeadLetters bool // the group's dead letters instead of the queue
}

// Received is one message with the handle that acknowledges it.
type Received struct {
	Message
	Handle     string
	ID         string
	Deliveries int
	Produced   time.Time
}

// Ack is one handle with what became of its message.
type Ack struct {
	Handle  string
	Success bool
}

// AckResult counts: the first Success of a batch were acknowledged, the last Fail were not.
type AckResult struct{ Success, Fail int }

// Quota is the queues of a project.
type Quota struct{ Limit, Used, Min, Max int }

// Tag is a queue's tag.
type Tag struct{ Key, Value string }

// TagValues is a key with values: of a project, or of a search (none: any value).
type TagValues struct {
	Key    string
	Values []string
}

// TagChange adds or removes tags. In a removal a nil Value stands for any.
type TagChange struct {
	Delete bool
	Tags   []TagRemoval
}

// TagRemoval is a tag whose value may be left open.
type TagRemoval struct {
	Key   string
	Value *string
}

// TagSearch selects queues by tags (DMS reference, section 7, D34).
type TagSearch struct {
	All, Any, NotAll, NotAny []TagValues
	Name                     string // part of the queue's name; "": any
	Limit, Offset            int
}

// TagMatch is a queue found.
type TagMatch struct {
	ID, Name string
	Tags     []Tag
}

// Lease is what one consumer holds, for the tools.
type Lease struct {
	Partition   int32
	First, Last int64
	State       string // "leased", "waiting" (for its retry), "dead-lettering"
	Holder      string
	Until       time.Time
	Deliveries  int
	Failures    int
}

// SettleAction is what an operator does with a leased message.
type SettleAction int8

// The actions of ForcedSettle.
const (
	ReleaseLease    SettleAction = iota + 1 // give back; no failure
	AcceptLease                             // done
	DiscardLease                            // done, without success
	DeadLetterLease                         // to the group's dead letters; not for Kafka queues, nor for what is one already
)

// ForcedSettle names a leased message and what to do with it.
type ForcedSettle struct {
	DeadLetters bool // it is one of the group's dead letters
	Partition   int32
	Offset      int64
	Action      SettleAction
}
