package share

import "github.com/tidemark-mq/tidemark/coordinator/share"

// Resume loads share partitions that nobody asks for, so that what was on their way goes on: dead letters are copied, leases that
// ran out are failures. It waits for that and answers those that cannot be loaded now, which may be tried again.
func (e *Engine) Resume(keys []share.Key) (failed []share.Key) {
	for _, k := range keys {
		done := make(chan error, 1)
		e.partition(k, func(_ *partition, err error) { done <- err })
		if <-done != nil {
			failed = append(failed, k)
		}
	}
	return failed
}
