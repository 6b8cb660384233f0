package private

import "github.com/twmb/franz-go/pkg/kmsg"

// The keys of the private requests.
const (
	KeyLease int16 = 20000 + iota
	KeySettle
	KeyListLeases
	KeyCountQueue
	KeyRegisterGroup
	KeyDelay
	KeyCancelDelays
	KeyReadDocuments
	KeyWriteDocuments
	keyEnd
)

// MinKey and MaxKey bound the keys of private requests.
const (
	MinKey = KeyLease
	MaxKey = keyEnd - 1
)

// Principal is who the queue service is at the front door. No client can authenticate as it: clients are "User:...".
const Principal = "Service:queues"

// names are the requests' names in logs and metrics.
var names = [...]string{"Lease", "Settle", "ListLeases", "CountQueue", "RegisterGroup", "Delay", "CancelDelays", "ReadDocuments", "WriteDocuments"}

// Name is the name of a private key, empty for other keys.
func Name(key int16) string {
	if key < MinKey || key > MaxKey {
		return ""
	}
	return names[key-MinKey]
}

// New is an empty request of a key, nil for other keys.
func New(key int16) kmsg.Request {
	switch key {
	case KeyLease:
		return new(LeaseRequest)
	case KeySettle:
		return new(SettleRequest)
	case KeyListLeases:
		return new(ListLeasesRequest)
	case KeyCountQueue:
		return new(CountQueueRequest)
	case KeyRegisterGroup:
		return new(RegisterGroupRequest)
	case KeyDelay:
		return new(DelayRequest)
	case KeyCancelDelays:
		return new(CancelDelaysRequest)
	case KeyReadDocuments:
		return new(ReadDocumentsRequest)
	case KeyWriteDocuments:
		return new(WriteDocumentsRequest)
	}
	return nil
}
