package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// DeleteTopics (key 20), versions 1 to 6: v4 is flexible, v5 has messages, v6 names topics by name or id.
func (h *handlers) deleteTopics(c *call.Call) {
	req := c.Request.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := within(c, req.TimeoutMillis)
	defer cancel()
	image := h.Cluster.Image()
	doomed := doomedTopics(req)
	switch {
	case !h.layers(image, "").BrokerBool("delete.topic.enable"):
		doomed.refuseAll(deletionDisabled(req.Version))
	case ctx.Err() != nil:
		doomed.refuseAll(ctx.Err())
	default:
		doomed.resolve(image)
		for _, t := range doomed.topics {
			if t.err == nil {
				t.err = guardTopic(c, t.found.Name)
			}
		}
		var ids []uuid.ID
		for _, t := range doomed.topics {
			if t.err == nil {
				ids = append(ids, t.found.ID)
			}
		}
		errs := h.Cluster.DeleteTopics(ctx, ids)
		for _, t := range doomed.topics {
			if t.err == nil {
				t.err, errs = errs[0], errs[1:]
			}
		}
	}
	for _, t := range doomed.topics {
		resp.Topics = append(resp.Topics, h.deletedTopic(t))
	}
	c.Reply(call.Response{Message: resp})
}

// deletionDisabled is what delete.topic.enable=false answers, in a form the client's version knows.
func deletionDisabled(version int16) error {
	if version < 3 {
		return kerr.InvalidRequest
	}
	return refuse(kerr.TopicDeletionDisabled, "Topic deletion is disabled: delete.topic.enable is false on this broker.")
}

// doomedTopic is one topic that a request wants deleted, as it names it.
type doomedTopic struct {
	name  *string
	id    [16]byte
	found *cluster.Topic
	err   error
}

// doomed is the topics of a request in its order, each name and each id once.
type doomed struct{ topics []*doomedTopic }

func doomedTopics(req *kmsg.DeleteTopicsRequest) doomed {
	asked := req.Topics
	if req.Version < 6 {
		asked = make([]kmsg.DeleteTopicsRequestTopic, len(req.TopicNames))
		for i := range asked {
			asked[i].Topic = &req.TopicNames[i]
		}
	}
	var d doomed
	byName, byID := map[string]*doomedTopic{}, map[[16]byte]*doomedTopic{}
	for i := range asked {
		t := &doomedTopic{name: asked[i].Topic, id: asked[i].TopicID}
		switch none := t.id == [16]byte{}; {
		case t.name == nil && none:
			t.err = refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
		case t.name != nil && !none:
			t.err = refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
		case none:
			if twice := byName[*t.name]; twice != nil {
				twice.err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
				continue
			}
			byName[*t.name] = t
		default:
			if twice := byID[t.id]; twice != nil {
				twice.err = refuse(kerr.InvalidRequest, "Duplicate topic id.")
				continue
			}
			byID[t.id] = t
		}
		d.topics = append(d.topics, t)
	}
	return d
}

func (d *doomed) refuseAll(err error) {
	for _, t := range d.topics {
		t.err = err
	}
}

// resolve finds the topics. One that is named by id and by name is refused in a single answer.
func (d *doomed) resolve(image *cluster.Image) {
	byID := map[uuid.ID]*doomedTopic{}
	for _, t := range d.topics {
		if t.err == nil && t.name == nil {
			if t.found = image.TopicByID(t.id); t.found == nil {
				t.err = refuse(kerr.UnknownTopicID, "%s", kerr.UnknownTopicID.Description)
				continue
			}
			t.name, byID[t.id] = &t.found.Name, t
		}
	}
	kept := d.topics[:0]
	for _, t := range d.topics {
		if t.err == nil && t.found == nil {
			if t.found = image.Topic(*t.name); t.found == nil {
				t.err = refuse(kerr.UnknownTopicOrPartition, "%s", kerr.UnknownTopicOrPartition.Description)
			} else if twice := byID[t.found.ID]; twice != nil {
				twice.err = refuse(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
				continue
			}
		}
		kept = append(kept, t)
	}
	d.topics = kept
}

func (h *handlers) deletedTopic(t *doomedTopic) kmsg.DeleteTopicsResponseTopic {
	out := kmsg.NewDeleteTopicsResponseTopic()
	out.Topic, out.TopicID = t.name, t.id
	out.ErrorCode, out.ErrorMessage = h.code(t.err, "delete topic"), reasonOf(t.err)
	if t.err == nil {
		out.TopicID = t.found.ID
	}
	return out
}
