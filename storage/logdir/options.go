package logdir

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// What callers branch on. Each error says the path, what was found, what was expected, and what to do.
var (
	ErrInUse        = errors.New("logdir: data directory is in use")
	ErrForeign      = errors.New("logdir: not a Tidemark data directory")
	ErrWrongBroker  = errors.New("logdir: data directory of another broker")
	ErrWrongCluster = errors.New("logdir: data directory of another cluster")
	ErrNewer        = errors.New("logdir: data directory of a newer format")
	ErrDiskFull     = errors.New("logdir: free disk space is below the reserve")
	ErrFailed       = errors.New("logdir: storage failed")
	ErrInactive     = errors.New("logdir: not active")
	ErrClosed       = errors.New("logdir: closed")
)

// JournalOptions sizes the journal; zero values mean storage/journal's defaults.
type JournalOptions struct {
	FileBytes     int64
	MaxBytes      int64 // of all journal files; default 256 MiB
	OwnSyncBytes  int
	MaxRoundBytes int
	CheckpointAge time.Duration
}

// Options of a directory. FS and Dir are required.
type Options struct {
	FS  vfs.FS
	Dir string // made when missing

	BrokerID  int32
	ClusterID string // "" when not known yet: see SetClusterID

	Journal   JournalOptions
	OpenFiles int // of logs, kept open; default segment.DefaultOpenFiles

	RetentionInterval time.Duration // log.retention.check.interval.ms; default 5 min
	Cleaner           cleaner.Options
	NoCleaner         bool // log.cleaner.enable is false

	// Reserve is how much disk space, in bytes, is kept free for acknowledgements, deletions and the key-value store: below it
	// clients' produces are to be refused (Full). Default: a twentieth of the file system, between 64 MiB and 1 GiB; negative: none.
	Reserve int64
	// AcceptDamagedJournal starts although rounds of the journal are missing that were on disk once. Acknowledged records may be
	// gone without a trace in their logs; for an operator who has decided so.
	AcceptDamagedJournal bool

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

const (
	minReserve     = 64 << 20
	maxReserve     = 1 << 30
	reserveDivisor = 20
)

func (o *Options) prepare() error {
	if o.FS == nil || o.Dir == "" {
		return errors.New("logdir: options without a file system or a directory")
	}
	if o.BrokerID < 0 {
		return fmt.Errorf("logdir: broker id %d is negative", o.BrokerID)
	}
	if o.RetentionInterval <= 0 {
		o.RetentionInterval = 5 * time.Minute
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return nil
}
