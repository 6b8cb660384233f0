package group

import (
	"bytes"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// dropStep bounds the share groups that one operation looks at for deleted topics.
const dropStep = 200

// dropShareTopics decides one step of having share groups forget deleted topics, and tells where to go on, nil at the end.
// Groups with members would see it with their next heartbeat; the others have none.
func (s *machine) dropShareTopics(v runtime.View, topics map[uuid.ID]bool, from []byte, done func(next []byte, err error)) runtime.Outcome {
	var next []byte
	var drafts []*shareGroup
	var records []runtime.Record
	var failed error
	rows := 0
	err := v.Scan([]byte{0, typeShareStates}, from, func(key, value []byte) bool {
		if rows++; rows > dropStep || len(records) >= maxTombstones {
			next = bytes.Clone(key)
			return false
		}
		name, _, ok := decodeShareKey(key)
		if !ok || !namesTopic(value, topics) {
			return true
		}
		var g *shareGroup
		if g, failed = s.findShare(v, name); failed != nil || g == nil {
			return failed == nil
		}
		d := g.draft()
		for id := range topics {
			if d.states[id] != nil {
				d.change().end(id)
			}
		}
		drafts = append(drafts, d)
		records = append(records, d.records(g)...)
		return true
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return runtime.Outcome{Reply: func(error) { done(nil, err) }}
	}
	return runtime.Outcome{
		Records: records,
		Reply:   func(err error) { done(next, err) },
		Then: func(tx *runtime.Tx) {
			for _, d := range drafts {
				s.adoptShare(d)
				s.startRun(tx, d)
			}
		},
	}
}

// namesTopic tells whether a record of states is about any of the topics.
func namesTopic(value []byte, topics map[uuid.ID]bool) bool {
	v, err := decodeShareStates(value)
	if err != nil {
		return false
	}
	for _, list := range [][]stateParts{v.initializing, v.initialized} {
		for _, t := range list {
			if topics[t.topic] {
				return true
			}
		}
	}
	return false
}

// dropShareTopics has the share groups of one partition forget topics, step by step.
func (s *Service) dropShareTopics(partition int32, topics map[uuid.ID]bool, from []byte) {
	next := func(next []byte, err error) {
		switch {
		case err != nil:
			s.log.Warn("share groups keep states of deleted topics", zap.Int32("partition", partition), zap.Error(err))
		case next != nil:
			s.dropShareTopics(partition, topics, next)
		}
	}
	if err := s.rt.Do(partition, func(m *machine, v runtime.View) runtime.Outcome {
		return m.dropShareTopics(v, topics, from, next)
	}); err != nil {
		next(nil, err)
	}
}
