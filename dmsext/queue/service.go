package queue

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// Options are what a Service is made of. Broker is needed, everything else has a default.
type Options struct {
	Broker Broker
	Log    *zap.Logger

	// MaxQueues is how many queues a project may have; 30 by default. MaxGroups is how many groups a queue may have, 1-10; 3 by default.
	MaxQueues int
	MaxGroups int
	// Partitions is how many partitions a NORMAL queue has that does not say; 3 by default.
	Partitions int32
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Service is the queues of all projects. Its methods may be called by any number of goroutines; their errors are of type *Error
// unless ctx ended.
type Service struct {
	broker Broker
	log    *zap.Logger
}

// New makes a Service. It does not talk to the broker before the first call.
func New(o Options) *Service { return &Service{broker: o.Broker, log: o.Log} }

// Resume goes on with what an earlier life began: queues and groups that were being made or deleted.
func (s *Service) Resume(ctx context.Context) error { return nil }

func (s *Service) CreateQueue(ctx context.Context, project string, q NewQueue) (Queue, error) {
	return Queue{}, nil
}

func (s *Service) Queues(ctx context.Context, project string) ([]Queue, error) { return nil, nil }

func (s *Service) Queue(ctx context.Context, project, queue string) (Queue, error) {
	return Queue{}, nil
}

func (s *Service) DeleteQueue(ctx context.Context, project, queue string) error { return nil }

func (s *Service) CreateGroups(ctx context.Context, project, queue string, names []string) ([]Group, error) {
	return nil, nil
}

func (s *Service) Groups(ctx context.Context, project, queue string, q GroupsQuery) (GroupList, error) {
	return GroupList{}, nil
}

func (s *Service) DeleteGroup(ctx context.Context, project, queue, group string) error { return nil }

func (s *Service) Send(ctx context.Context, project, queue string, messages []Message) ([]Sent, error) {
	return nil, nil
}

func (s *Service) Receive(ctx context.Context, project, queue, group string, r Receive) ([]Received, error) {
	return nil, nil
}

func (s *Service) Ack(ctx context.Context, project, queue, group string, deadLetters bool, acks []Ack) (AckResult, error) {
	return AckResult{}, nil
}

func (s *Service) Quota(ctx context.Context, project string) (Quota, error) { return Quota{}, nil }

func (s *Service) PutTag(ctx context.Context, project, queue string, t Tag) error { return nil }

func (s *Service) ChangeTags(ctx context.Context, project, queue string, c TagChange) error {
	return nil
}

func (s *Service) DeleteTag(ctx context.Context, project, queue, key string) error { return nil }

func (s *Service) Tags(ctx context.Context, project, queue string) ([]Tag, error) { return nil, nil }

func (s *Service) ProjectTags(ctx context.Context, project string) ([]TagValues, error) {
	return nil, nil
}

// SearchTags finds queues and how many match in all, whatever Limit and Offset.
func (s *Service) SearchTags(ctx context.Context, project string, q TagSearch) ([]TagMatch, int, error) {
	return nil, 0, nil
}

// Purge removes all messages of a queue, the delayed ones too.
func (s *Service) Purge(ctx context.Context, project, queue string) error { return nil }

// Leases lists what is held of a queue by a group's consumers, at most limit of them; more tells whether there are others.
func (s *Service) Leases(ctx context.Context, project, queue, group string, deadLetters bool, limit int) (l []Lease, more bool, err error) {
	return nil, false, nil
}

// SettleLease ends the lease of one message, whoever holds it.
func (s *Service) SettleLease(ctx context.Context, project, queue, group string, f ForcedSettle) error {
	return nil
}
