package delay

import (
	"bytes"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// Messages that go without having entered their target: it is gone, or they are cancelled.

// drop settles everything of a target that is gone.
func (m *machine) drop(v runtime.View, t Target) runtime.Outcome {
	records, more, err := m.waiting(v, t, nil)
	if err != nil {
		return m.later(t, err)
	}
	if !more {
		records = append(records, runtime.Record{Key: targetKey(t)})
	}
	return runtime.Outcome{Records: records, Then: func(tx *runtime.Tx) {
		if more {
			m.backOff(tx, t, errTargetGone)
			return
		}
		delete(m.targets, t)
		tx.Cancel(timerOf(timerDue, t))
		tx.Cancel(timerOf(timerRetry, t))
	}}
}

// waiting lists tombstones for the messages of a target but those kept, a bounded number of them.
func (m *machine) waiting(r runtime.Reader, t Target, keep map[ref]bool) (records []runtime.Record, more bool, err error) {
	prefix := messagesOf(t)
	err = r.Scan(prefix, nil, func(key, _ []byte) bool {
		if keep[parseRef(key[len(prefix):])] {
			return true
		}
		if len(records) == cancelAtOnce {
			more = true
			return false
		}
		records = append(records, runtime.Record{Key: bytes.Clone(key)})
		return true
	})
	return records, more, err
}

// cancelAtOnce is how many messages one batch of tombstones drops.
const cancelAtOnce = 2000
