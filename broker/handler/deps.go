package handler

import (
	"context"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/replica"
	leases "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Deps is what the handlers stand on. Handlers reach it through the handlers struct.
type Deps struct {
	Log *zap.Logger
	// ClusterID and BrokerID are this broker's identity, fixed while it runs.
	ClusterID string
	BrokerID  int32
	// Start is the broker's settings given at start-up, by Kafka's names, in canonical form.
	Start map[string]string
	// LogLevel is the level of the broker's own log, shown and changed as the logger "root". Nil: there are no loggers to show.
	LogLevel *zap.AtomicLevel

	Cluster  Cluster
	Replicas *replica.Manager
	Fetch    *fetch.Fetcher
	Groups   *group.Service
	Shares   *share.Service // the share coordinator
	Leases   *leases.Engine // what is leased of the partitions led here
	// ShareDoor is the Kafka side of Leases.
	ShareDoor *leases.Door
	Delays    *delay.Service
	// Producers hands out producer ids; nil: the handlers allocate their own.
	Producers *ProducerIDs
	Disk      Disk
}

// Cluster is the cluster's metadata and the door to changing it; *cluster.Cluster implements it.
type Cluster interface {
	Image() *cluster.Image
	CreateTopics(context.Context, []cluster.TopicSpec) []cluster.TopicResult
	DeleteTopics(context.Context, []uuid.ID) []error
	CreatePartitions(context.Context, cluster.PartitionsSpec) (*cluster.Topic, error)
	AlterConfigs(ctx context.Context, kind, name string, edit func(current map[string]string) (map[string]string, error)) error
	AllocateProducerIDs(context.Context) (first int64, n int, err error)
	WriteDocuments(context.Context, []cluster.DocumentCond, []cluster.DocumentOp) (revision int64, err error)
}

var _ Cluster = (*cluster.Cluster)(nil)

// Disk is the data directory as DescribeLogDirs shows it.
type Disk interface {
	// Path is the directory, absolute.
	Path() string
	// Space is the size of the file system the directory is on, and what of it can still be used, in bytes.
	Space() (total, usable int64, err error)
}
