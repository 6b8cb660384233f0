package private

import "github.com/twmb/franz-go/pkg/kmsg"

// The kinds of documents: small values that the queue service keeps with the cluster's metadata. A name may hold slashes.
const (
	KindProjects    = "projects"     // <project id>
	KindUsers       = "users"        // <user name>
	KindAccessKeys  = "access-keys"  // <access key>
	KindSecrets     = "secrets"      // what authenticates handles and tokens
	KindQueues      = "queues"       // <project>/<queue id>
	KindQueueNames  = "queue-names"  // <project>/<queue name> -> queue id: names are unique
	KindQueueGroups = "queue-groups" // <group id> -> project and queue
	KindTags        = "tags"         // <project>/<queue id>
)

// Kinds lists the kinds that there are.
var Kinds = []string{KindProjects, KindUsers, KindAccessKeys, KindSecrets, KindQueues, KindQueueNames, KindQueueGroups, KindTags}

// MaxDocument bounds a document's value, in bytes.
const MaxDocument = 64 << 10

// ReadDocumentsRequest reads documents of one kind from the broker's image of the metadata: it costs no trip to etcd. Whoever
// wrote a document finds it in the next read.
type ReadDocumentsRequest struct {
	plain
	Kind   string
	Name   string // one document, or with Prefix those whose names begin with it
	Prefix bool
	After  string // with Prefix: only names greater than this
	Limit  int32  // with Prefix: at most so many; 0: no limit
}

// ReadDocumentsResponse answers a ReadDocumentsRequest, by name. A document that is not there is no error and not in the list.
type ReadDocumentsResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Documents    []Document
	More         bool
}

// Document is one document. Revision grows with each change of it; documents of equal revision and name are equal.
type Document struct {
	Name     string
	Value    []byte
	Revision int64
}

// Conditions on a document's revision.
const (
	Absent int64 = 0  // it must not exist
	Exists int64 = -1 // it must exist, whatever its revision
)

// WriteDocumentsRequest changes documents if all conditions hold, all at once, or changes nothing. At most 60 conditions and 60
// changes, no document changed twice.
type WriteDocumentsRequest struct {
	plain
	If   []DocumentCondition
	Then []DocumentChange
}

// DocumentCondition is a revision that a document must have, or Absent, or Exists.
type DocumentCondition struct {
	Kind, Name string
	Revision   int64
}

// DocumentChange puts a document or deletes it (one that is not there is fine).
type DocumentChange struct {
	Kind, Name string
	Value      []byte
	Delete     bool
}

// WriteDocumentsResponse answers a WriteDocumentsRequest once the broker's image shows the change. Errors: INVALID_UPDATE_VERSION when a
// condition did not hold, INVALID_REQUEST, REQUEST_TIMED_OUT when nobody knows whether it happened.
type WriteDocumentsResponse struct {
	plain
	ErrorCode    int16
	ErrorMessage string
	Revision     int64 // of what was written
}

func (*ReadDocumentsRequest) Key() int16   { return KeyReadDocuments }
func (*ReadDocumentsResponse) Key() int16  { return KeyReadDocuments }
func (*WriteDocumentsRequest) Key() int16  { return KeyWriteDocuments }
func (*WriteDocumentsResponse) Key() int16 { return KeyWriteDocuments }

func (m *ReadDocumentsRequest) AppendTo(dst []byte) []byte   { return appendFields(dst, m) }
func (m *ReadDocumentsResponse) AppendTo(dst []byte) []byte  { return appendFields(dst, m) }
func (m *WriteDocumentsRequest) AppendTo(dst []byte) []byte  { return appendFields(dst, m) }
func (m *WriteDocumentsResponse) AppendTo(dst []byte) []byte { return appendFields(dst, m) }

func (m *ReadDocumentsRequest) ReadFrom(src []byte) error   { return readFields(src, m) }
func (m *ReadDocumentsResponse) ReadFrom(src []byte) error  { return readFields(src, m) }
func (m *WriteDocumentsRequest) ReadFrom(src []byte) error  { return readFields(src, m) }
func (m *WriteDocumentsResponse) ReadFrom(src []byte) error { return readFields(src, m) }

func (*ReadDocumentsRequest) ResponseKind() kmsg.Response  { return new(ReadDocumentsResponse) }
func (*ReadDocumentsResponse) RequestKind() kmsg.Request   { return new(ReadDocumentsRequest) }
func (*WriteDocumentsRequest) ResponseKind() kmsg.Response { return new(WriteDocumentsResponse) }
func (*WriteDocumentsResponse) RequestKind() kmsg.Request  { return new(WriteDocumentsRequest) }
