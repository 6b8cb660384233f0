package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// fakeBroker is a front door with documents, topics, settings and share groups in memory, as simple as they can be.
type fakeBroker struct {
	t *testing.T

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew when records or leases change
	revision int64
	docs     map[string]private.Document // kind + "\n" + name
	topics   map[string]*fakeTopic
	groups   map[string]*fakeGroup
	settings map[string]map[string]string // of groups
	delays   map[uuid.ID][]private.DelayedMessage
	brokers  int
	asked    map[int16]int

	// before may answer in the broker's place: with a response, or with an error.
	before func(req kmsg.Request) (kmsg.Response, error)
}

type fakeTopic struct {
	name       string
	id         uuid.ID
	settings   map[string]string
	partitions []fakePartition
}

type fakePartition struct {
	start   int64
	records []private.LeasedRecord // by offset
}

type fakeGroup struct {
	topics []uuid.ID
	shares map[fakeKey]*fakeShare
	next   int32
}

type fakeKey struct {
	topic     uuid.ID
	partition int32
}

// fakeShare is a share partition, record by record.
type fakeShare struct {
	records                          map[int64]*fakeRecord
	accepted, deadLettered, filtered int64
}

type fakeRecord struct {
	held                 bool
	done                 bool
	holder               string
	until                time.Time
	deliveries, failures int32
}

var errCut = errors.New("the broker is gone")

func newFake(t *testing.T) *fakeBroker {
	return &fakeBroker{
		t: t, changed: make(chan struct{}), docs: map[string]private.Document{}, topics: map[string]*fakeTopic{}, groups: map[string]*fakeGroup{},
		settings: map[string]map[string]string{}, delays: map[uuid.ID][]private.DelayedMessage{}, brokers: 1, asked: map[int16]int{},
	}
}

// Do answers a request.
func (b *fakeBroker) Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if principal != private.Principal {
		return nil, errors.New("not the service")
	}
	if r, ok := req.(*private.LeaseRequest); ok {
		return b.lease(ctx, r)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if resp, err := b.first(req); resp != nil || err != nil {
		return resp, err
	}
	switch r := req.(type) {
	case *private.ReadDocumentsRequest:
		return b.read(r), nil
	case *private.WriteDocumentsRequest:
		return b.write(r), nil
	case *kmsg.CreateTopicsRequest:
		return b.createTopics(r), nil
	case *kmsg.DeleteTopicsRequest:
		return b.deleteTopics(r), nil
	case *kmsg.MetadataRequest:
		return b.metadata(r), nil
	case *kmsg.IncrementalAlterConfigsRequest:
		return b.alter(r), nil
	case *kmsg.DeleteGroupsRequest:
		return b.deleteGroups(r), nil
	case *kmsg.DeleteRecordsRequest:
		return b.deleteRecords(r), nil
	case *kmsg.ProduceRequest:
		return b.produce(r), nil
	case *private.RegisterGroupRequest:
		return b.register(r), nil
	case *private.DelayRequest:
		return b.delay(r), nil
	case *private.CancelDelaysRequest:
		n := len(b.delays[r.TopicID])
		delete(b.delays, r.TopicID)
		return &private.CancelDelaysResponse{Cancelled: int64(n)}, nil
	case *private.SettleRequest:
		return b.settle(r), nil
	case *private.ListLeasesRequest:
		return b.listLeases(r), nil
	case *private.CountQueueRequest:
		return b.count(r), nil
	}
	return nil, errors.New("not served")
}

// first counts the request and lets before answer it.
func (b *fakeBroker) first(req kmsg.Request) (kmsg.Response, error) {
	b.asked[req.Key()]++
	if b.before == nil {
		return nil, nil
	}
	return b.before(req)
}

func (b *fakeBroker) read(r *private.ReadDocumentsRequest) *private.ReadDocumentsResponse {
	resp := &private.ReadDocumentsResponse{}
	for _, key := range slices.Sorted(maps.Keys(b.docs)) {
		name, ours := strings.CutPrefix(key, r.Kind+"\n")
		switch {
		case !ours, r.Prefix && (!strings.HasPrefix(name, r.Name) || name <= r.After), !r.Prefix && name != r.Name:
			continue
		}
		if r.Prefix && r.Limit > 0 && len(resp.Documents) == int(r.Limit) {
			resp.More = true
			break
		}
		resp.Documents = append(resp.Documents, b.docs[key])
	}
	return resp
}

func (b *fakeBroker) write(r *private.WriteDocumentsRequest) *private.WriteDocumentsResponse {
	seen := map[string]bool{}
	for _, c := range r.Then {
		if key := c.Kind + "\n" + c.Name; seen[key] || !slices.Contains(private.Kinds, c.Kind) {
			return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidRequest.Code}
		} else {
			seen[key] = true
		}
	}
	if len(r.If) > 60 || len(r.Then) > 60 {
		return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidRequest.Code}
	}
	for _, c := range r.If {
		d, there := b.docs[c.Kind+"\n"+c.Name]
		if c.Revision == private.Exists && !there || c.Revision != private.Exists && d.Revision != c.Revision {
			return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidUpdateVersion.Code}
		}
	}
	b.revision++
	for _, c := range r.Then {
		if key := c.Kind + "\n" + c.Name; c.Delete {
			delete(b.docs, key)
		} else {
			b.docs[key] = private.Document{Name: c.Name, Value: slices.Clone(c.Value), Revision: b.revision}
		}
	}
	return &private.WriteDocumentsResponse{Revision: b.revision}
}

func (b *fakeBroker) createTopics(r *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, rt := range r.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = rt.Topic
		if b.topics[rt.Topic] != nil {
			out.ErrorCode = kerr.TopicAlreadyExists.Code
		} else {
			settings := map[string]string{}
			for _, c := range rt.Configs {
				settings[c.Name] = *c.Value
			}
			out.TopicID = b.addTopic(rt.Topic, int(rt.NumPartitions), settings).id
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (b *fakeBroker) addTopic(name string, partitions int, settings map[string]string) *fakeTopic {
	topic := &fakeTopic{name: name, id: uuid.New(), settings: settings, partitions: make([]fakePartition, partitions)}
	b.topics[name] = topic
	return topic
}

func (b *fakeBroker) deleteTopics(r *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	resp := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
	for _, rt := range r.Topics {
		out := kmsg.NewDeleteTopicsResponseTopic()
		if out.Topic = rt.Topic; b.topics[*rt.Topic] == nil {
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		delete(b.topics, *rt.Topic)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (b *fakeBroker) metadata(r *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	resp.Brokers = make([]kmsg.MetadataResponseBroker, b.brokers)
	var names []string
	for _, rt := range r.Topics {
		names = append(names, *rt.Topic)
	}
	if r.Topics == nil {
		names = slices.Sorted(maps.Keys(b.topics))
	}
	for _, name := range names {
		out := kmsg.NewMetadataResponseTopic()
		if out.Topic = &name; b.topics[name] == nil {
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		} else {
			out.TopicID = b.topics[name].id
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (b *fakeBroker) alter(r *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	for _, rr := range r.Resources {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		own := b.settings[rr.ResourceName]
		for _, c := range rr.Configs {
			switch {
			case c.Op == opSet && c.Name == "share.retry.backoff.ms" && strings.HasPrefix(*c.Value, "-"):
				out.ErrorCode = kerr.InvalidConfig.Code
			case r.ValidateOnly:
			case c.Op == opDelete:
				delete(own, c.Name)
			default:
				if own == nil {
					own = map[string]string{}
				}
				own[c.Name] = *c.Value
			}
		}
		if b.settings[rr.ResourceName] = own; len(own) == 0 {
			delete(b.settings, rr.ResourceName)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func (b *fakeBroker) deleteGroups(r *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := r.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, name := range r.Groups {
		out := kmsg.NewDeleteGroupsResponseGroup()
		out.Group = name
		switch g := b.groups[name]; {
		case g == nil:
			out.ErrorCode = kerr.GroupIDNotFound.Code
		case g.leased():
			out.ErrorCode = kerr.NonEmptyGroup.Code
		default:
			delete(b.groups, name)
		}
		resp.Groups = append(resp.Groups, out)
	}
	return resp
}

func (g *fakeGroup) leased() bool {
	for _, s := range g.shares {
		for _, r := range s.records {
			if r.held {
				return true
			}
		}
	}
	return false
}

func (b *fakeBroker) deleteRecords(r *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	resp := r.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for _, rt := range r.Topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		for _, rp := range rt.Partitions {
			p := &b.topics[rt.Topic].partitions[rp.Partition]
			p.start += int64(len(p.records))
			p.records = nil
			out.Partitions = append(out.Partitions, kmsg.DeleteRecordsResponseTopicPartition{Partition: rp.Partition, LowWatermark: p.start})
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (b *fakeBroker) topicByID(id uuid.ID) *fakeTopic {
	for _, topic := range b.topics {
		if topic.id == id {
			return topic
		}
	}
	return nil
}

func (b *fakeBroker) produce(r *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	require.Equal(b.t, int16(-1), r.Acks)
	for _, rt := range r.Topics {
		out := kmsg.NewProduceResponseTopic()
		topic := b.topicByID(rt.TopicID)
		for _, rp := range rt.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			if p.Partition = rp.Partition; topic == nil {
				p.ErrorCode, p.BaseOffset = kerr.UnknownTopicID.Code, -1
			} else {
				p.BaseOffset = b.append(topic, rp.Partition, rp.Records)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// append stores a batch's records and answers the offset of the first.
func (b *fakeBroker) append(topic *fakeTopic, partition int32, records []byte) int64 {
	batch, err := record.Single(slices.Clone(records))
	require.NoError(b.t, err)
	p := &topic.partitions[partition]
	base := p.start + int64(len(p.records))
	for _, rec := range readBatch(b.t, batch) {
		b.add(topic, partition, rec)
	}
	return base
}

func (b *fakeBroker) add(topic *fakeTopic, partition int32, rec private.LeasedRecord) {
	p := &topic.partitions[partition]
	rec.Offset, rec.Timestamp = p.start+int64(len(p.records)), time.Now().UnixMilli()
	p.records = append(p.records, rec)
	b.wake()
}

func (b *fakeBroker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *fakeBroker) register(r *private.RegisterGroupRequest) *private.RegisterGroupResponse {
	if b.groups[r.Group] == nil {
		b.groups[r.Group] = &fakeGroup{topics: r.TopicIDs, shares: map[fakeKey]*fakeShare{}}
	}
	return &private.RegisterGroupResponse{}
}

func (b *fakeBroker) delay(r *private.DelayRequest) *private.DelayResponse {
	if b.topicByID(r.TopicID) == nil {
		return &private.DelayResponse{ErrorCode: kerr.UnknownTopicID.Code}
	}
	b.delays[r.TopicID] = append(b.delays[r.TopicID], r.Messages...)
	return &private.DelayResponse{IDs: make([]int64, len(r.Messages))}
}

// due lets all delayed messages of a topic enter it.
func (b *fakeBroker) due(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	topic := b.topics[name]
	for _, m := range b.delays[topic.id] {
		b.add(topic, 0, private.LeasedRecord{Value: m.Value, Headers: append(m.Headers, private.Header{Key: private.DueHeader, Value: []byte("1")})})
	}
	delete(b.delays, topic.id)
}
