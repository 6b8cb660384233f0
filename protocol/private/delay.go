package private

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// DelayRequest hands over messages that are to enter a partition of a topic when they are due, and not before. It is answered when they are
// durable. Each enters once, in order of due times, with its due time as DueHeader.
type DelayRequest struct {
	plain
	TopicID   uuid.ID
	Partition int32
	Messages  []DelayedMessage
}

// DelayedMessage is a message and when it is due, in ms since the epoch.
type DelayedMessage struct {
	DueMillis  int64
	Key, Value []byte // nil: null
	Headers    []Header
}

// DelayResponse answers a DelayRequest: all messages are kept, or none. Errors: UNKNOWN_TOPIC_ID, and what the coordinator
// answers (COORDINATOR_LOAD_IN_PROGRESS, KAFKA_STORAGE_ERROR and so on). IDs name the messages in the order given.
type DelayResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	IDs          []int64
}

// CancelDelaysRequest drops all messages that still wait to enter a topic: it is purged or deleted.
type CancelDelaysRequest struct {
	plain
	TopicID uuid.ID
}

// CancelDelaysResponse answers a CancelDelaysRequest with how many there were.
type CancelDelaysResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Cancelled    int64
}

func (*DelayRequest) Key() int16         { return KeyDelay }
func (*DelayResponse) Key() int16        { return KeyDelay }
func (*CancelDelaysRequest) Key() int16  { return KeyCancelDelays }
func (*CancelDelaysResponse) Key() int16 { return KeyCancelDelays }

func (m *DelayRequest) AppendTo(dst []byte) []byte         { return appendFields(dst, m) }
func (m *DelayResponse) AppendTo(dst []byte) []byte        { return appendFields(dst, m) }
func (m *CancelDelaysRequest) AppendTo(dst []byte) []byte  { return appendFields(dst, m) }
func (m *CancelDelaysResponse) AppendTo(dst []byte) []byte { return appendFields(dst, m) }

func (m *DelayRequest) ReadFrom(src []byte) error         { return readFields(src, m) }
func (m *DelayResponse) ReadFrom(src []byte) error        { return readFields(src, m) }
func (m *CancelDelaysRequest) ReadFrom(src []byte) error  { return readFields(src, m) }
func (m *CancelDelaysResponse) ReadFrom(src []byte) error { return readFields(src, m) }

func (*DelayRequest) ResponseKind() kmsg.Response        { return new(DelayResponse) }
func (*DelayResponse) RequestKind() kmsg.Request         { return new(DelayRequest) }
func (*CancelDelaysRequest) ResponseKind() kmsg.Response { return new(CancelDelaysResponse) }
func (*CancelDelaysResponse) RequestKind() kmsg.Request  { return new(CancelDelaysRequest) }
