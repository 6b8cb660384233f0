package queue

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Ack says what became of leased messages (DMS reference 4.3, 9.3; decisions D6 to D10). All handles are checked before anything
// changes. A failed message takes all later ones of its retrieval with it.
func (s *Service) Ack(ctx context.Context, project, id, group string, deadLetters bool, acks []Ack) (AckResult, error) {
	result, err := s.ack(ctx, project, id, group, deadLetters, acks)
	return result, s.told(err)
}

func (s *Service) ack(ctx context.Context, project, id, name string, deadLetters bool, acks []Ack) (AckResult, error) {
	q, g, err := s.findGroup(ctx, project, id, name)
	if err != nil {
		return AckResult{}, err
	}
	if len(acks) == 0 {
		return AckResult{}, badf(CodeFormat, "The request format is incorrect: message must hold at least one handler.")
	}
	held, err := s.checkHandles(ctx, q, g, deadLetters, acks)
	if err != nil {
		return AckResult{}, err
	}
	req := &private.SettleRequest{Group: g.share, TopicID: q.Topic, InOrder: true, Leases: leases(held)}
	if deadLetters {
		if req.TopicID, err = s.letterTopic(ctx, g); err != nil {
			return AckResult{}, err
		}
	}
	var resp *private.SettleResponse
	err = patiently(ctx, patience, func() (err error) {
		if resp, err = ask[*private.SettleResponse](ctx, s, req); err != nil {
			return err
		}
		return refused("settle", resp.ErrorCode, resp.ErrorMessage)
	})
	switch {
	case isRefusal(err, kerr.InvalidRecordState), isRefusal(err, kerr.UnknownTopicID), isRefusal(err, kerr.GroupIDNotFound),
		isRefusal(err, kerr.UnknownTopicOrPartition):
		return AckResult{}, noHandle()
	case err != nil:
		return AckResult{}, err
	}
	return AckResult{Success: int(resp.Accepted), Fail: int(resp.Others)}, nil
}

// heldMessage is one handle of a request with what became of its message.
type heldMessage struct {
	handle
	action private.Action
}

// checkHandles reads the handles and puts them into the order of their leases and offsets (D8).
func (s *Service) checkHandles(ctx context.Context, q *queue, g *group, deadLetters bool, acks []Ack) ([]heldMessage, error) {
	k, err := s.handleKeys(ctx)
	if err != nil {
		return nil, err
	}
	held := make([]heldMessage, len(acks))
	for i := range acks {
		h, ok := parseHandle(acks[i].Handle, q.project, k.get)
		if !ok {
			// Perhaps another broker has made a key since; there is one look for it in a request.
			if k, err = s.readKeys(ctx); err != nil {
				return nil, err
			}
			if h, ok = parseHandle(acks[i].Handle, q.project, k.get); !ok {
				return nil, noHandle()
			}
		}
		switch {
		case h.queue != q.key || h.group != g.key:
			return nil, badf(CodeHandleElsewhere, "The queue or the consumer group does not match the handler.")
		case h.deadLetter != deadLetters:
			return nil, badf(CodeNoConsumer, "There is no consumption instance for the handler: messages and dead letters are acknowledged by calls of their own.")
		}
		held[i] = heldMessage{handle: h, action: private.Fail}
		if acks[i].Success {
			held[i].action = private.Accept
		}
	}
	slices.SortFunc(held, func(a, b heldMessage) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), bytesCompare(a.holder, b.holder), cmp.Compare(a.offset, b.offset), cmp.Compare(a.delivery, b.delivery))
	})
	for i := 1; i < len(held); i++ {
		if a, b := &held[i-1], &held[i]; a.partition == b.partition && a.holder == b.holder && a.offset == b.offset {
			return nil, badf(CodeHandle, "The handler does not exist: the request names it twice, and after the first time it is acknowledged.")
		}
	}
	return held, nil
}

func bytesCompare(a, b holder) int { return slices.Compare(a[:], b[:]) }

// leases groups sorted messages by their leases.
func leases(held []heldMessage) []private.SettledLease {
	var out []private.SettledLease
	records := make([]private.SettledRecord, len(held))
	for i := range held {
		h := &held[i]
		records[i] = private.SettledRecord{Offset: h.offset, Delivery: h.delivery, Action: h.action}
		if i > 0 && held[i-1].partition == h.partition && held[i-1].holder == h.holder {
			last := &out[len(out)-1]
			last.Records = last.Records[:len(last.Records)+1]
			continue
		}
		out = append(out, private.SettledLease{Partition: h.partition, Holder: h.holder.text(), Records: records[i : i+1 : len(held)]})
	}
	return out
}
