package private

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// LeaseRequest takes records of a topic for a group under one lease of their own: the group need not have members and the
// holder is none of them. All records of an answer are of one partition. Nothing available: the request waits, and is
// answered without records when the time is up.
//
// The group's settings decide the rest (coordinator/config.Group): order, limits, whether the lease is durable.
type LeaseRequest struct {
	plain
	Group      string
	TopicID    uuid.ID
	Partition  int32  // -1: whichever has records, beginning with the one after the last answer's
	Holder     string // while the request lasts, no other one's
	MaxRecords int32
	// MaxBytes bounds keys, values and headers of the answer; one record comes however large it is.
	MaxBytes      int32
	MaxWaitMillis int32
	LeaseMillis   int32    // 0: the group's share.record.lock.duration.ms
	Labels        []string // none: all records. Records that do not match are settled for the group as filtered
	AllLabels     bool     // a record must have all of Labels, not only one
}

// LeaseResponse answers a LeaseRequest. Errors: UNKNOWN_TOPIC_ID, GROUP_ID_NOT_FOUND, and whatever the partition's state
// answers (NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, COORDINATOR_LOAD_IN_PROGRESS and so on).
type LeaseResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Partition    int32 // of the records; -1 without any
	UntilMillis  int64 // when the lease ends, since the epoch
	Records      []LeasedRecord
}

// LeasedRecord is one record under a lease.
type LeasedRecord struct {
	Offset     int64
	Timestamp  int64
	Key, Value []byte // nil: null
	Headers    []Header
	Deliveries int32 // this one included
	Failures   int32 // deliveries before that were answered Fail or ran out
}

// Header is a record's header.
type Header struct {
	Key   string
	Value []byte
}

// Action is what a holder says of a record it holds.
type Action = int8

// The actions. Accept, Reject and DeadLetter are final.
const (
	Accept     Action = 1 // done
	Release    Action = 2 // give back; it does not count as a failure
	Reject     Action = 3 // done, without success: it will not be delivered again
	Renew      Action = 4 // begin the lease's time again
	Fail       Action = 5 // give back as failed: back-off, limit and dead letters apply
	DeadLetter Action = 6 // to the group's dead letters, whatever its failures
)

// SettleRequest says what became of leased records. All its leases are checked first: if a record is not held as the request
// says, the answer is INVALID_RECORD_STATE and nothing changes.
type SettleRequest struct {
	plain
	Group   string
	TopicID uuid.ID
	Leases  []SettledLease
	// InOrder walks each lease's records by offset and stops at the first that is not accepted: one whose action is another,
	// or one that the lease still holds and the request does not mention. A record with Fail takes it, and then all later
	// records of its lease are released at once, mentioned or not. After an unmentioned one nothing more happens.
	InOrder     bool
	RenewMillis int32 // for Renew; 0: as the lease was made
}

// SettledLease is one lease's part of a SettleRequest.
type SettledLease struct {
	Partition int32
	Holder    string
	Force     bool // whoever holds the records; for operators
	Records   []SettledRecord
}

// SettledRecord is a record and what to do with it. Delivery is which delivery of the record the holder means; 0: not said.
type SettledRecord struct {
	Offset   int64
	Delivery int32
	Action   Action
}

// SettleResponse answers a SettleRequest when what it did is durable. After REQUEST_TIMED_OUT it may have happened, or a part of it;
// after any other error that passes nothing did, and it may be asked again. Accepted counts the mentioned records that were
// accepted, Others the rest of them.
type SettleResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Accepted     int32
	Others       int32
}

// ListLeasesRequest lists what of a topic is held, waits for its retry, or is on its way to the dead letters.
type ListLeasesRequest struct {
	plain
	Group     string
	TopicID   uuid.ID
	Partition int32 // -1: all
	From      int64 // with a Partition: the first offset
	Limit     int32
}

// ListLeasesResponse answers a ListLeasesRequest, by partition and offset.
type ListLeasesResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Leases       []HeldRange
	More         bool // there are more than Limit
}

// HeldRange is a run of offsets with one state.
type HeldRange struct {
	Partition   int32
	First, Last int64
	State       int8 // as in the state records: 0 available (waits until UntilMillis), 1 acquired, 3 archiving
	Holder      string
	UntilMillis int64
	Deliveries  int32
	Failures    int32
}

// CountQueueRequest asks for the numbers of a topic and of groups that read it.
type CountQueueRequest struct {
	plain
	TopicID uuid.ID
	Groups  []string
}

// CountQueueResponse answers a CountQueueRequest; groups in the order asked.
type CountQueueResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Records      int64 // in the topic now
	Bytes        int64 // on disk
	Delayed      int64 // waiting to be due
	Groups       []GroupCount
}

// GroupCount is one group's numbers. Available counts what is in the topic and not settled, what is held included.
// The others count since the group exists: Rejected is what consumers rejected, or Kafka's delivery limit gave up, without dead
// letters; Skipped is what retention removed unsettled. Records are the sum of all but InFlight.
type GroupCount struct {
	Group        string
	ErrorCode    int16
	Available    int64
	InFlight     int64
	Accepted     int64
	Rejected     int64
	DeadLettered int64
	Filtered     int64
	Skipped      int64
}

// RegisterGroupRequest makes a share group without members that reads these topics, so that it is listed and can be described.
// One that exists is left as it is. Errors: GROUP_ID_NOT_FOUND for a group of another type.
type RegisterGroupRequest struct {
	plain
	Group    string
	TopicIDs []uuid.ID
}

// RegisterGroupResponse answers a RegisterGroupRequest.
type RegisterGroupResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
}

func (*LeaseRequest) Key() int16          { return KeyLease }
func (*LeaseResponse) Key() int16         { return KeyLease }
func (*SettleRequest) Key() int16         { return KeySettle }
func (*SettleResponse) Key() int16        { return KeySettle }
func (*ListLeasesRequest) Key() int16     { return KeyListLeases }
func (*ListLeasesResponse) Key() int16    { return KeyListLeases }
func (*CountQueueRequest) Key() int16     { return KeyCountQueue }
func (*CountQueueResponse) Key() int16    { return KeyCountQueue }
func (*RegisterGroupRequest) Key() int16  { return KeyRegisterGroup }
func (*RegisterGroupResponse) Key() int16 { return KeyRegisterGroup }

func (m *LeaseRequest) AppendTo(dst []byte) []byte          { return appendFields(dst, m) }
func (m *LeaseResponse) AppendTo(dst []byte) []byte         { return appendFields(dst, m) }
func (m *SettleRequest) AppendTo(dst []byte) []byte         { return appendFields(dst, m) }
func (m *SettleResponse) AppendTo(dst []byte) []byte        { return appendFields(dst, m) }
func (m *ListLeasesRequest) AppendTo(dst []byte) []byte     { return appendFields(dst, m) }
func (m *ListLeasesResponse) AppendTo(dst []byte) []byte    { return appendFields(dst, m) }
func (m *CountQueueRequest) AppendTo(dst []byte) []byte     { return appendFields(dst, m) }
func (m *CountQueueResponse) AppendTo(dst []byte) []byte    { return appendFields(dst, m) }
func (m *RegisterGroupRequest) AppendTo(dst []byte) []byte  { return appendFields(dst, m) }
func (m *RegisterGroupResponse) AppendTo(dst []byte) []byte { return appendFields(dst, m) }

func (m *LeaseRequest) ReadFrom(src []byte) error          { return readFields(src, m) }
func (m *LeaseResponse) ReadFrom(src []byte) error         { return readFields(src, m) }
func (m *SettleRequest) ReadFrom(src []byte) error         { return readFields(src, m) }
func (m *SettleResponse) ReadFrom(src []byte) error        { return readFields(src, m) }
func (m *ListLeasesRequest) ReadFrom(src []byte) error     { return readFields(src, m) }
func (m *ListLeasesResponse) ReadFrom(src []byte) error    { return readFields(src, m) }
func (m *CountQueueRequest) ReadFrom(src []byte) error     { return readFields(src, m) }
func (m *CountQueueResponse) ReadFrom(src []byte) error    { return readFields(src, m) }
func (m *RegisterGroupRequest) ReadFrom(src []byte) error  { return readFields(src, m) }
func (m *RegisterGroupResponse) ReadFrom(src []byte) error { return readFields(src, m) }

func (*LeaseRequest) ResponseKind() kmsg.Response         { return new(LeaseResponse) }
func (*LeaseResponse) RequestKind() kmsg.Request          { return new(LeaseRequest) }
func (*SettleRequest) ResponseKind() kmsg.Response        { return new(SettleResponse) }
func (*SettleResponse) RequestKind() kmsg.Request         { return new(SettleRequest) }
func (*ListLeasesRequest) ResponseKind() kmsg.Response    { return new(ListLeasesResponse) }
func (*ListLeasesResponse) RequestKind() kmsg.Request     { return new(ListLeasesRequest) }
func (*CountQueueRequest) ResponseKind() kmsg.Response    { return new(CountQueueResponse) }
func (*CountQueueResponse) RequestKind() kmsg.Request     { return new(CountQueueRequest) }
func (*RegisterGroupRequest) ResponseKind() kmsg.Response { return new(RegisterGroupResponse) }
func (*RegisterGroupResponse) RequestKind() kmsg.Request  { return new(RegisterGroupRequest) }
