package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// maxTombstones bounds the tombstones of one operation; what deletes more goes on with
// another.
const maxTombstones = 2000

// deleteOffsets decides an OffsetDelete request, whose topics and partitions exist.
func (s *machine) deleteOffsets(v runtime.View, r *kmsg.OffsetDeleteRequest, done func(*kmsg.OffsetDeleteResponse)) runtime.Outcome {
	answer := kmsg.NewPtrOffsetDeleteResponse()
	later := func(err error) *kmsg.OffsetDeleteResponse {
		failed := kmsg.NewPtrOffsetDeleteResponse()
		failed.ErrorCode = codeOf(err).Code
		return failed
	}
	refuse := func(code *kerr.Error) runtime.Outcome {
		answer.ErrorCode = code.Code
		return answered(done, answer, later)
	}
	g, err := s.find(v, r.Group)
	switch {
	case err != nil:
		return refuse(codeOf(err))
	case g == nil:
		return refuse(kerr.GroupIDNotFound)
	case g.phase != empty && !g.usesConsumerProtocol():
		return refuse(kerr.NonEmptyGroup)
	}
	var records []runtime.Record
	for _, t := range r.Topics {
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = t.Topic
		for _, asked := range t.Partitions {
			p := kmsg.NewOffsetDeleteResponseTopicPartition()
			p.Partition = asked.Partition
			if g.subscribed(t.Topic) {
				p.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if key := appendOffsetKey(nil, r.Group, t.Topic, asked.Partition); true {
				there, err := exists(v, key)
				if err != nil {
					return refuse(codeOf(err))
				}
				if there {
					records = append(records, runtime.Record{Key: key})
				}
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	out := answered(done, answer, later)
	out.Records = records
	return out
}

// exists tells whether there is an offset to delete, committed or held by a transaction.
func exists(r runtime.Reader, key []byte) (bool, error) {
	if _, ok, err := r.Get(key); ok || err != nil {
		return ok, err
	}
	return held(r, key)
}

// deleteGroup decides one step of deleting a group: its offsets, as many as one operation
// may, and with the last of them the group. done is told whether there is more to do.
func (s *machine) deleteGroup(v runtime.View, group string, done func(code *kerr.Error, more bool)) runtime.Outcome {
	type answer struct {
		code *kerr.Error
		more bool
	}
	reply := func(a answer) runtime.Outcome {
		return answered(func(a answer) { done(a.code, a.more) }, a, func(err error) answer { return answer{code: codeOf(err)} })
	}
	g, err := s.find(v, group)
	switch {
	case err != nil:
		return reply(answer{code: codeOf(err)})
	case g == nil:
		return reply(answer{code: kerr.GroupIDNotFound})
	case g.phase != empty:
		return reply(answer{code: kerr.NonEmptyGroup})
	}
	tombstones, more, err := groupTombstones(v, group)
	if err != nil {
		return reply(answer{code: codeOf(err)})
	}
	if !more {
		tombstones = append(tombstones, runtime.Record{Key: appendGroupKey(nil, group)})
	}
	out := reply(answer{more: more})
	out.Records = tombstones
	if !more {
		out.Then = func(tx *runtime.Tx) {
			for id := range g.pending {
				tx.Cancel(sessionTimer(g, id))
			}
			delete(s.groups, g.id)
		}
	}
	return out
}

// groupTombstones makes tombstones for a group's offsets, those that open transactions
// hold included, up to the most of one operation.
func groupTombstones(v runtime.View, group string) (tombstones []runtime.Record, more bool, err error) {
	prefix := appendOffsetPrefix(nil, group)
	collect := func(key []byte) bool {
		if more = len(tombstones) == maxTombstones; more {
			return false
		}
		tombstones = append(tombstones, runtime.Record{Key: append([]byte(nil), key...)})
		return true
	}
	if err = v.Scan(prefix, nil, func(key, _ []byte) bool { return collect(key) }); err != nil || more {
		return tombstones, more, err
	}
	err = v.Scan(append([]byte(rowHolds), prefix...), nil, func(key, _ []byte) bool {
		return collect(key[len(rowHolds) : len(key)-8])
	})
	return tombstones, more, err
}
