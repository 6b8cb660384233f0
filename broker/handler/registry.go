// Package handler answers Kafka requests: one file per API, named after it, and one row per API in the table below.
//
// A handler validates the request, resolves ids, authorises, acts per item through the package that owns the state, and
// fills the answer. It takes no locks, touches no files and starts no goroutines; what has to wait is parked by the
// package waited for, which calls back. Errors become Kafka codes in errors.go and nowhere else.
package handler

import (
	"context"
	"fmt"
	"math"
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	leases "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// handlers holds what handlers need; each API's file adds the method that answers it.
type handlers struct {
	Deps
	registry  *Registry
	producers *ProducerIDs
}

// Frame limits, in bytes. Only requests that carry records, or an entry for each of very many partitions or members, have
// a reason to be larger than the usual limit.
const (
	usualFrame = 1 << 20
	wideFrame  = 16 << 20
	anyFrame   = math.MaxInt32 // the server's socket.request.max.bytes alone
)

// table is every API this broker serves. A row names the key and the handler; the name and the versions come from Kafka
// 4.4's table and the frame limit is usualFrame unless the row says otherwise. To serve one more API, add its row.
func (h *handlers) table() []call.API {
	return []call.API{
		row(kmsg.SASLHandshake, h.saslHandshake),
		with(row(kmsg.ApiVersions, h.apiVersions), func(a *call.API) { a.AnyVersion = true }),
		row(kmsg.SASLAuthenticate, h.saslAuthenticate),

		with(row(kmsg.Produce, h.produce), func(a *call.API) { a.Overlap, a.Aliases, a.FrameLimit = true, true, anyFrame }),
		wide(row(kmsg.Fetch, h.Fetch.Serve)),
		wide(row(kmsg.ListOffsets, h.listOffsets)),
		wide(row(kmsg.OffsetForLeaderEpoch, h.offsetForLeaderEpoch)),
		wide(row(kmsg.DeleteRecords, h.deleteRecords)),
		row(kmsg.InitProducerID, h.initProducerID),
		wide(row(kmsg.DescribeProducers, h.describeProducers)),

		wide(row(kmsg.Metadata, h.metadata)),
		wide(row(kmsg.DescribeTopicPartitions, h.describeTopicPartitions)),
		wide(row(kmsg.CreateTopics, h.createTopics)),
		wide(row(kmsg.DeleteTopics, h.deleteTopics)),
		wide(row(kmsg.CreatePartitions, h.createPartitions)),

		wide(row(kmsg.DescribeConfigs, h.describeConfigs)),
		wide(row(kmsg.AlterConfigs, h.alterConfigs)),
		wide(row(kmsg.IncrementalAlterConfigs, h.incrementalAlterConfigs)),
		row(kmsg.ListConfigResources, h.listConfigResources),

		row(kmsg.DescribeCluster, h.describeCluster),
		wide(row(kmsg.DescribeLogDirs, h.describeLogDirs)),
		row(kmsg.DescribeQuorum, h.describeQuorum),

		wide(row(kmsg.FindCoordinator, h.findCoordinator)),
		wide(row(kmsg.JoinGroup, h.joinGroup)),
		wide(row(kmsg.SyncGroup, h.syncGroup)),
		row(kmsg.Heartbeat, h.heartbeat),
		wide(row(kmsg.LeaveGroup, h.leaveGroup)),
		wide(row(kmsg.OffsetCommit, h.offsetCommit)),
		wide(row(kmsg.OffsetFetch, h.offsetFetch)),
		wide(row(kmsg.OffsetDelete, h.offsetDelete)),
		wide(row(kmsg.ListGroups, h.listGroups)),
		ofNames(wide(row(kmsg.DescribeGroups, h.describeGroups))),
		wide(row(kmsg.DeleteGroups, h.deleteGroups)),

		wide(row(kmsg.ShareGroupHeartbeat, h.shareGroupHeartbeat)),
		ofNames(wide(row(kmsg.ShareGroupDescribe, h.shareGroupDescribe))),
		with(wide(row(kmsg.ShareFetch, h.shareFetch)), func(a *call.API) { a.Cost = leases.FetchCost }),
		wide(row(kmsg.ShareAcknowledge, h.ShareDoor.ShareAcknowledge)),
		wide(row(kmsg.DescribeShareGroupOffsets, h.describeShareGroupOffsets)),
		wide(row(kmsg.AlterShareGroupOffsets, h.alterShareGroupOffsets)),
		wide(row(kmsg.DeleteShareGroupOffsets, h.deleteShareGroupOffsets)),

		wide(row(kmsg.InitializeShareGroupState, h.initializeShareGroupState)),
		wide(row(kmsg.ReadShareGroupState, h.readShareGroupState)),
		wide(row(kmsg.WriteShareGroupState, h.writeShareGroupState)),
		wide(row(kmsg.DeleteShareGroupState, h.deleteShareGroupState)),
		wide(row(kmsg.ReadShareGroupStateSummary, h.readShareGroupStateSummary)),
	}
}

func row(key kmsg.Key, handle func(*call.Call)) call.API {
	return call.API{Key: key.Int16(), Handle: handle}
}

// wide is a row for requests with an entry for each of very many partitions, topics or settings.
func wide(a call.API) call.API {
	a.FrameLimit = wideFrame
	return a
}

// usualNames is how many bytes the names in a usual request are, decoded.
const usualNames = 64 << 10

// ofNames is a row for requests that name groups and take some 500 bytes for each until they are answered, though it may not exist.
func ofNames(a call.API) call.API {
	a.Cost = func(decoded int64) int64 {
		if decoded <= usualNames {
			return 0
		}
		return 16 * decoded
	}
	return a
}

// with changes a row where it differs from the usual.
func with(a call.API, change func(*call.API)) call.API {
	change(&a)
	return a
}

// Registry is the table made ready for use. It does not change after New.
type Registry struct {
	log    *zap.Logger
	rows   []call.API          // by key
	byKey  []*call.API         // index is the key
	hidden map[int16]*call.API // what only Do serves
	answer versionsAnswer
}

// New builds the registry; it fails on a table that contradicts itself or Kafka's.
func New(d Deps) (*Registry, error) {
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	r := &Registry{log: d.Log}
	h := &handlers{Deps: d, registry: r}
	if h.producers = d.Producers; h.producers == nil {
		h.producers = NewProducerIDs(func(ctx context.Context) (int64, int, error) { return h.Cluster.AllocateProducerIDs(ctx) })
	}
	if d.Fetch != nil {
		d.Fetch.Answer(func(err error, doing string) int16 { return h.code(err, doing) }, h.endpoint)
	}
	rows := h.table()
	for i := range rows {
		if err := complete(&rows[i]); err != nil {
			return nil, err
		}
		rows[i].Handle = r.guarded(rows[i].Handle)
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
	r.rows = rows
	r.byKey = make([]*call.API, rows[len(rows)-1].Key+1)
	for i := range rows {
		if r.byKey[rows[i].Key] != nil {
			return nil, fmt.Errorf("%s has two rows", rows[i].Name)
		}
		r.byKey[rows[i].Key] = &rows[i]
	}
	r.hidden = r.privateRows(h.privateTable())
	r.answer = newVersionsAnswer(rows)
	return r, nil
}

// complete fills what a row leaves to Kafka's table and checks the rest against it.
func complete(a *call.API) error {
	k, ok := wire.Lookup(a.Key)
	if !ok {
		return fmt.Errorf("key %d is no API of Kafka 4.4", a.Key)
	}
	a.Name = k.Name
	if a.Max == 0 {
		a.Min, a.Max = k.Min, k.Max
	}
	if a.Min < k.Min || a.Max > k.Max || a.Min > a.Max {
		return fmt.Errorf("%s: versions %d to %d are not within Kafka's %d to %d", a.Name, a.Min, a.Max, k.Min, k.Max)
	}
	if a.FrameLimit == 0 {
		a.FrameLimit = usualFrame
	}
	if a.Handle == nil {
		return fmt.Errorf("%s has no handler", a.Name)
	}
	return nil
}

// APIs lists the rows by key, for the server. Not to be changed.
func (r *Registry) APIs() []call.API { return r.rows }

// API is the row of a key, nil if it is not served.
func (r *Registry) API(key int16) *call.API {
	if key < 0 || int(key) >= len(r.byKey) {
		return nil
	}
	return r.byKey[key]
}
