package share

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/share/window"
)

// ackBatch is a range that a client acknowledges, as either request has it.
type ackBatch interface {
	kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch | kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch
}

// mostAckTypes bounds what a request may say of one partition, in ranges and types together: more than any window holds.
const mostAckTypes = 1 << 18

// actionsOf is what the acknowledgements of one partition come to: by offset, neighbours of one kind together. Renewals, which
// only a request that announces them may have, are until then. Errors wrap window.ErrRange for what is malformed: a range whose ends
// are crossed or negative, ranges out of order, a type that does not exist, types that are neither one nor one for each offset. They
// wrap window.ErrState where a range begins with the last offset of the one before: the record is settled by that. (Kafka's rules, as
// measured: both codes are for the whole partition.)
func actionsOf[B ackBatch](batches []B, renews bool, until time.Time) ([]window.Action, error) {
	size := len(batches)
	for i := range batches {
		size += len(kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(batches[i]).AcknowledgeTypes)
	}
	if size > mostAckTypes {
		return nil, fmt.Errorf("%w: more than %d ranges and types", window.ErrRange, mostAckTypes)
	}
	actions := make([]window.Action, 0, len(batches))
	last, twice := int64(-1), false
	for i := range batches {
		b := kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(batches[i])
		if err := checkAckBatch(b.FirstOffset, b.LastOffset, b.AcknowledgeTypes, renews); err != nil {
			return nil, err
		}
		if b.FirstOffset < last {
			return nil, fmt.Errorf("%w: it begins at %d, before the end of the one before", window.ErrRange, b.FirstOffset)
		}
		twice = twice || b.FirstOffset == last
		last = b.LastOffset
		actions = appendActions(actions, b.FirstOffset, b.LastOffset, b.AcknowledgeTypes, until)
	}
	if twice {
		return nil, fmt.Errorf("%w: it is in two ranges", window.ErrState)
	}
	return actions, nil
}

func checkAckBatch(first, last int64, types []int8, renews bool) error {
	if first < 0 || last < first {
		return fmt.Errorf("%w: from %d to %d", window.ErrRange, first, last)
	}
	if n := len(types); n == 0 || n > 1 && int64(n) != last-first+1 {
		return fmt.Errorf("%w: %d types for the records from %d to %d", window.ErrRange, n, first, last)
	}
	for _, t := range types {
		switch kind := window.Kind(t); kind {
		case window.Gap, window.Accept, window.Release, window.Reject:
		case window.Renew:
			if !renews {
				return fmt.Errorf("%w: a renewal in a request that announces none", window.ErrRange)
			}
		default:
			return fmt.Errorf("%w: acknowledgement type %d", window.ErrRange, t)
		}
	}
	return nil
}

// appendActions adds a range that was checked.
func appendActions(actions []window.Action, first, last int64, types []int8, until time.Time) []window.Action {
	for i, t := range types {
		a := window.Action{First: first + int64(i), Last: first + int64(i), Kind: window.Kind(t)}
		if len(types) == 1 {
			a.Last = last
		}
		if a.Kind == window.Renew {
			a.Until = until
		}
		if n := len(actions); n > 0 && actions[n-1].Kind == a.Kind && actions[n-1].Last == a.First-1 {
			actions[n-1].Last = a.Last
			continue
		}
		actions = append(actions, a)
	}
	return actions
}

// renewsAny tells whether an action begins a lease's time again.
func renewsAny(actions []window.Action) bool {
	for i := range actions {
		if actions[i].Kind == window.Renew {
			return true
		}
	}
	return false
}
