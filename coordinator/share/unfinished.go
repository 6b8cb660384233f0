package share

import (
	"bytes"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// unfinishedAfter is how long after a load the shard is searched: who leads the partitions it is about takes them up meanwhile.
const unfinishedAfter = time.Second

// findUnfinished tells Options.Unfinished of the share partitions of a shard in which something was on its way.
func (s *Service) findUnfinished(partition int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.wg.Go(func() {
		keys, err := s.unfinished(partition)
		if err != nil && !errors.Is(err, runtime.ErrNotCoordinator) && !errors.Is(err, runtime.ErrLoading) {
			s.log.Warn("not known what was on its way in share partitions", zap.Int32("partition", partition), zap.Error(err))
		}
		if len(keys) > 0 {
			s.opts.Unfinished(keys)
		}
	})
}

// unfinished lists the share partitions of a shard that hold offsets which are Acquired or Archiving.
func (s *Service) unfinished(partition int32) (keys []Key, err error) {
	err = s.rt.Survey(partition, func(r runtime.Reader) error {
		var all []Key
		err := r.Scan([]byte{rowHead}, nil, func(key, _ []byte) bool {
			r := reader{b: bytes.Clone(key[1:])}
			all = append(all, r.key())
			return true
		})
		for _, k := range all {
			p, bad := load(r, k)
			if bad != nil {
				err = errors.Join(err, bad)
			} else if p != nil && p.underWay() {
				keys = append(keys, k)
			}
		}
		return err
	})
	return keys, err
}

// underWay tells whether offsets are Acquired or Archiving.
func (p *sharePartition) underWay() bool {
	for _, b := range p.batches() {
		if b.State == Acquired || b.State == Archiving {
			return true
		}
	}
	return false
}
