package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Options say who this broker is and where the metadata lies. Exactly one of Dir, Endpoints and Store is set.
type Options struct {
	BrokerID    int32      // this broker's id, 0 or more
	Rack        string     // its rack; "" = none
	Listeners   []Endpoint // where clients reach it, as advertised
	DirectoryID uuid.ID    // identity of its data directory: a broker that holds it may replace its predecessor at once; zero = unknown
	// Clean says that the previous life on this data directory ended with everything flushed (its clean-shutdown marker), or that there was none.
	Clean bool
	// ClusterID is the cluster to which the data directory belongs; "" = none yet: take the cluster that is there, or found one.
	ClusterID string

	Dir       string   // directory of the embedded etcd
	Endpoints []string // URLs of an external etcd; its operator has it compact its history
	Store     Store    // a store of the caller's, for simulations (Memory); Close closes it

	Username, Password string      // for an external etcd
	TLS                *tls.Config // for an external etcd with https URLs
	Prefix             string      // of all keys, ending in "/"; default DefaultPrefix

	// SessionTimeout is how long a broker that fell silent stays registered. Default 9 s (Kafka's broker.session.timeout.ms), embedded 60 s:
	// there nobody waits to take over, and a machine that stood still should not shuffle leaders.
	SessionTimeout time.Duration

	Features            map[string]int16 // levels that this broker knows: those of a cluster founded now, and what others are raised to
	PartitionsPerBatch  int              // partitions made by one request at most; default 10,000 as in Kafka
	PartitionsPerTopic  int              // default 100,000
	PartitionsInCluster int              // default 200,000
	MaxReplicas         int              // of a partition; default MaxReplicas

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// MaxReplicas is how many replicas a partition may have. Brokers do not copy records from each other yet: a second replica would count as
// in sync and hold nothing.
const MaxReplicas = 1

const (
	defaultSession         = 9 * time.Second
	defaultEmbeddedSession = 60 * time.Second
)

// withDefaults gives the options completed, or everything that is wrong with them.
func (o Options) withDefaults() (Options, error) {
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	if o.BrokerID < 0 {
		complain("broker id %d: must be 0 or more", o.BrokerID)
	}
	sources := 0
	for _, set := range []bool{o.Dir != "", len(o.Endpoints) > 0, o.Store != nil} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		complain("exactly one of directory, endpoints and store has to be given, not %d", sources)
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	} else if !strings.HasSuffix(o.Prefix, "/") {
		complain("prefix %q: must end in /", o.Prefix)
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = defaultSession
		if o.Dir != "" {
			o.SessionTimeout = defaultEmbeddedSession
		}
	} else if o.SessionTimeout < 2*time.Second {
		complain("session timeout %v: must be 2s or more", o.SessionTimeout)
	}
	for limit, fallback := range map[*int]int{&o.PartitionsPerBatch: 10_000, &o.PartitionsPerTopic: 100_000, &o.PartitionsInCluster: 200_000,
		&o.MaxReplicas: MaxReplicas} {
		if *limit == 0 {
			*limit = fallback
		} else if *limit < 0 {
			complain("limit of partitions or replicas %d: must be positive", *limit)
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o, errors.Join(wrong...)
}
