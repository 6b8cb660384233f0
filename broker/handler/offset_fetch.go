package handler

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// OffsetFetch (key 9), versions 1 to 10.
//
//	v2  null topics are all, an error of the whole answer    v3  throttle time
//	v5  leader epoch (KIP-320)                               v6  flexible
//	v7  require stable (KIP-447)                             v8  several groups (KIP-709)
//	v9  member id and epoch (KIP-848), which classic groups do not look at
//	v10 topic ids instead of names, UNKNOWN_TOPIC_ID
//
// Nothing committed is offset -1 without an error, also of topics that do not exist, which are unknown only by id.
func (h *handlers) offsetFetch(c *call.Call) {
	req := c.Request.(*kmsg.OffsetFetchRequest)
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	image := h.Cluster.Image()
	if req.Version < 8 {
		asked := fetchOneGroup(req)
		h.fetchGroup(image, req, &asked, func(g kmsg.OffsetFetchResponseGroup) {
			fillOneGroup(req, resp, &g)
			c.Reply(call.Response{Message: resp})
		})
		return
	}
	if len(req.Groups) == 0 {
		c.Reply(call.Response{Message: resp})
		return
	}
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	var mu sync.Mutex
	left := len(req.Groups)
	asked := make(map[string]int, len(req.Groups))
	for i := range req.Groups {
		ask := h.fetchGroup
		if asked[req.Groups[i].Group] == mostRepeats {
			ask = refuseRepeated
		} else {
			asked[req.Groups[i].Group]++
		}
		ask(image, req, &req.Groups[i], func(g kmsg.OffsetFetchResponseGroup) {
			mu.Lock()
			resp.Groups[i] = g
			left--
			last := left == 0
			mu.Unlock()
			if last {
				c.Reply(call.Response{Message: resp})
			}
		})
	}
}

// mostRepeats is how often one request may name a group: each time a few bytes are answered with all of its offsets.
const mostRepeats = 16

// refuseRepeated answers for a group that the request has named too often.
func refuseRepeated(_ *cluster.Image, _ *kmsg.OffsetFetchRequest, asked *kmsg.OffsetFetchRequestGroup, done func(kmsg.OffsetFetchResponseGroup)) {
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group, g.ErrorCode = asked.Group, kerr.InvalidRequest.Code
	done(g)
}

// fetchGroup asks the coordinator for what exists of one group's topics and adds the rest.
func (h *handlers) fetchGroup(image *cluster.Image, req *kmsg.OffsetFetchRequest, asked *kmsg.OffsetFetchRequestGroup, done func(kmsg.OffsetFetchResponseGroup)) {
	known := *asked
	if asked.Topics != nil {
		known.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(asked.Topics))
	}
	missing := make([]bool, len(asked.Topics))
	var code int16
	for i, t := range asked.Topics {
		there := image.Topic(t.Topic)
		if req.Version >= 10 {
			there, code = image.TopicByID(t.TopicID), kerr.UnknownTopicID.Code
		}
		if missing[i] = there == nil; !missing[i] {
			t.Topic, t.TopicID = there.Name, there.ID
			known.Topics = append(known.Topics, t)
		}
	}
	h.Groups.OffsetFetch(&known, req.RequireStable, func(g kmsg.OffsetFetchResponseGroup) {
		switch {
		case g.ErrorCode != 0:
		case asked.Topics == nil:
			g.Topics = existing(image, g.Topics)
		default:
			g.Topics = withMissing(asked.Topics, missing, g.Topics, code)
		}
		done(g)
	})
}

// existing leaves out topics that are gone, whose offsets soon will be, and names the others by id as well.
func existing(image *cluster.Image, topics []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	kept := topics[:0]
	for _, t := range topics {
		if there := image.Topic(t.Topic); there != nil {
			t.TopicID = there.ID
			kept = append(kept, t)
		}
	}
	return kept
}

// withMissing puts the topics that are not there between those that were found, as they were asked for.
func withMissing(asked []kmsg.OffsetFetchRequestGroupTopic, missing []bool, found []kmsg.OffsetFetchResponseGroupTopic, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	if len(found) == len(asked) {
		return found
	}
	all := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(asked))
	for i, t := range asked {
		if !missing[i] && len(found) > 0 {
			all, found = append(all, found[0]), found[1:]
			continue
		}
		none := kmsg.NewOffsetFetchResponseGroupTopic()
		none.Topic, none.TopicID = t.Topic, t.TopicID
		for _, n := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = n, -1, -1, kmsg.StringPtr(""), code
			none.Partitions = append(none.Partitions, p)
		}
		all = append(all, none)
	}
	return all
}

// fetchOneGroup is the request of a version that knows one group, in the form of those that know several.
func fetchOneGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = req.Group
	if req.Topics != nil || req.Version < 2 {
		asked.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	}
	for _, t := range req.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	return asked
}

// fillOneGroup is the answer in the older form. Version 1 has no error for the whole: every partition gets it.
func fillOneGroup(req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse, g *kmsg.OffsetFetchResponseGroup) {
	resp.ErrorCode = g.ErrorCode
	if g.ErrorCode != 0 {
		if req.Version < 2 {
			fillErrors(req, resp, g.ErrorCode)
		}
		return
	}
	for _, t := range g.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetFetchResponseTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			partition.Metadata, partition.ErrorCode = p.Metadata, p.ErrorCode
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

func fillErrors(req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse, code int16) {
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, n := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = n, -1, -1, kmsg.StringPtr(""), code
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
}
