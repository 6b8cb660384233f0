package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// whole checks that every queue and group is there with all that belongs to it, or not at all.
func (w *world) whole() {
	w.Helper()
	b := w.broker
	topics, groups, settings, docs := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	require.NoError(w, w.each(w.ctx, "", func(q *queue) error {
		require.False(w, q.unfinished(), q.docName())
		require.Equal(w, b.topics[q.topicName].id, q.Topic)
		topics[q.topicName] = true
		docs[private.KindQueues+"\n"+q.docName()] = true
		docs[private.KindQueueNames+"\n"+q.project+"/"+q.Name] = true
		for _, g := range q.groups {
			require.Contains(w, b.groups, g.share)
			require.Equal(w, "true", b.settings[g.share]["share.acquisition.durable"])
			groups[g.share], settings[g.share], docs[private.KindQueueGroups+"\n"+g.ID] = true, true, true
			if b.topics[g.dlq] != nil {
				topics[g.dlq] = true
			}
		}
		return nil
	}))
	require.Len(w, b.topics, len(topics))
	require.Len(w, b.groups, len(groups))
	require.Len(w, b.settings, len(settings))
	for key := range b.docs {
		lock := strings.HasPrefix(key, private.KindQueueNames+"\n") && strings.HasSuffix(key, "/")
		require.True(w, docs[key] || lock || strings.HasPrefix(key, private.KindTags) || strings.HasPrefix(key, private.KindSecrets), "%q belongs to nothing", key)
	}
}

// TestAnOperationCutAnywhereIsFinishedByResume ends the broker's service before each of an operation's requests in turn, and after it.
func TestAnOperationCutAnywhereIsFinishedByResume(t *testing.T) {
	operations := map[string]func(*world, string, string) error{
		"create queue": func(w *world, _, _ string) error {
			_, err := w.CreateQueue(w.ctx, project, NewQueue{Name: "new"})
			return err
		},
		"create groups": func(w *world, queue, _ string) error {
			_, err := w.CreateGroups(w.ctx, project, queue, []string{"a", "b"})
			return err
		},
		"delete group": func(w *world, queue, group string) error { return w.DeleteGroup(w.ctx, project, queue, group) },
		"delete queue": func(w *world, queue, _ string) error { return w.DeleteQueue(w.ctx, project, queue) },
	}
	for name, operation := range operations {
		for _, done := range []bool{false, true} { // whether the request that is cut took effect
			for cut := 1; ; cut++ {
				w := newWorld(t)
				queue, group := w.queue(NewQueue{Redrive: true, MaxConsumeCount: 1})
				w.send(queue, `1`, `2`)
				got := w.receive(queue, group)
				_, err := w.Ack(w.ctx, project, queue, group, false, handles(got, false))
				require.NoError(t, err)
				w.receive(queue, group)
				w.whole()

				gone := w.broker.cutAt(cut, done)
				err = operation(w, queue, group)
				w.broker.before = nil
				w.Service = New(Options{Broker: w.broker})
				require.NoError(t, w.Resume(w.ctx), "%s cut at %d", name, cut)
				w.whole()
				if !*gone {
					require.NoError(t, err)
					break
				}
			}
		}
	}
}

// cutAt lets all fail from the n-th request on; that one takes effect and is not answered, if done.
func (b *fakeBroker) cutAt(n int, done bool) (gone *bool) {
	gone = new(bool)
	b.before = func(req kmsg.Request) (kmsg.Response, error) {
		if n--; n > 0 {
			return nil, nil
		}
		if n == 0 && done {
			*gone = true
			b.before = func(kmsg.Request) (kmsg.Response, error) { return nil, errCut }
			b.mu.Unlock()
			defer b.mu.Lock()
			b.silently(req)
			return nil, errCut
		}
		*gone = true
		return nil, errCut
	}
	return gone
}

// silently lets a request take effect.
func (b *fakeBroker) silently(req kmsg.Request) {
	hook := b.before
	b.before = nil
	_, _ = b.Do(context.Background(), private.Principal, req)
	b.before = hook
}

func TestAQueueWhoseCreationWasCutIsMadeByItsFirstUser(t *testing.T) {
	for cut := 1; ; cut++ {
		w := newWorld(t)
		gone := w.broker.cutAt(cut, true)
		_, err := w.CreateQueue(w.ctx, project, NewQueue{Name: "orders"})
		w.broker.before = nil
		if !*gone {
			break
		}
		require.Error(t, err)
		list, err := w.Queues(w.ctx, project)
		require.NoError(t, err)
		if len(list) == 1 {
			w.send(list[0].ID, `1`)
			w.whole()
		}
	}
}

func TestAQueueThatCanNotBeMadeLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
		if create, ok := req.(*kmsg.CreateTopicsRequest); ok {
			resp := create.ResponseKind().(*kmsg.CreateTopicsResponse)
			resp.Topics = []kmsg.CreateTopicsResponseTopic{{Topic: create.Topics[0].Topic, ErrorCode: kerr.KafkaStorageError.Code}}
			return resp, nil
		}
		return nil, nil
	}
	_, err := w.CreateQueue(w.ctx, project, NewQueue{Name: "orders"})
	require.Equal(t, CodeStorage, code(t, err))
	w.broker.before = nil
	w.whole()
	_, err = w.CreateQueue(w.ctx, project, NewQueue{Name: "orders"})
	require.NoError(t, err)
}

func TestADeletionGoesOnThoughItsClientHasGone(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	ctx, cancel := context.WithCancel(w.ctx)
	w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
		if req.Key() == private.KeyWriteDocuments {
			cancel()
		}
		return nil, nil
	}
	require.NoError(t, w.DeleteQueue(ctx, project, id))
	w.whole()
	require.Empty(t, w.broker.topics)
}

func TestDeadLettersOfNobodyAreRemovedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{Redrive: true, MaxConsumeCount: 1})
	queue := "q-" + project + "-" + id
	other := "q-" + project + "-" + newUUID()
	w.broker.addTopic(queue+"-dlq-"+group, 1, nil)
	w.broker.addTopic(queue+"-dlq-g-"+newUUID(), 1, nil)
	w.broker.addTopic(other, 1, nil)
	w.broker.addTopic(other+"-dlq-g-"+newUUID(), 1, nil)
	w.broker.addTopic("orders", 1, nil)
	require.NoError(t, w.Resume(w.ctx))
	require.Len(t, w.broker.topics, 5)
	require.Contains(t, w.broker.topics, queue+"-dlq-"+group)
	require.Contains(t, w.broker.topics, other, "a topic is never removed because a document is missing")
}

func TestAStartingBrokerIsWaitedFor(t *testing.T) {
	for _, k := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.NotLeaderForPartition} {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		left := 2
		w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
			if left--; left >= 0 {
				return refusing(req, k.Code), nil
			}
			left = 2
			return nil, nil
		}
		_, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`1`)}, {Body: []byte(`2`), Delay: time.Hour}})
		require.NoError(t, err)
		got := w.receive(id, group)
		require.Len(t, got, 1)
		_, err = w.Ack(w.ctx, project, id, group, false, handles(got, true))
		require.NoError(t, err)
		_, err = w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
		require.NoError(t, err)
		require.NoError(t, w.Purge(w.ctx, project, id))
		require.NoError(t, w.DeleteQueue(w.ctx, project, id))
	}
}

// refusing is an answer with an error code; documents are always there.
func refusing(req kmsg.Request, code int16) kmsg.Response {
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		resp.Topics = []kmsg.ProduceResponseTopic{{Partitions: []kmsg.ProduceResponseTopicPartition{{ErrorCode: code, BaseOffset: -1}}}}
		return resp
	case *kmsg.DeleteGroupsRequest:
		resp := r.ResponseKind().(*kmsg.DeleteGroupsResponse)
		resp.Groups = []kmsg.DeleteGroupsResponseGroup{{ErrorCode: code}}
		return resp
	case *kmsg.DeleteRecordsRequest:
		resp := r.ResponseKind().(*kmsg.DeleteRecordsResponse)
		resp.Topics = []kmsg.DeleteRecordsResponseTopic{{Partitions: []kmsg.DeleteRecordsResponseTopicPartition{{ErrorCode: code}}}}
		return resp
	case *private.LeaseRequest:
		return &private.LeaseResponse{ErrorCode: code}
	case *private.SettleRequest:
		return &private.SettleResponse{ErrorCode: code}
	case *private.DelayRequest:
		return &private.DelayResponse{ErrorCode: code}
	case *private.CancelDelaysRequest:
		return &private.CancelDelaysResponse{ErrorCode: code}
	case *private.CountQueueRequest:
		return &private.CountQueueResponse{ErrorCode: code}
	}
	return nil
}

func TestFailuresOfTheBrokerHaveTheirCodes(t *testing.T) {
	for _, c := range []struct {
		k      *kerr.Error
		status int
		code   int
	}{
		{kerr.KafkaStorageError, 500, CodeStorage},
		{kerr.RequestTimedOut, 500, CodeFateUnknown},
		{kerr.NotEnoughReplicasAfterAppend, 500, CodeFateUnknown},
		{kerr.UnknownServerError, 500, CodeInternal},
		{kerr.ThrottlingQuotaExceeded, 429, CodeFlowControl},
		{kerr.UnknownTopicID, 404, CodeQueueNotFound},
		{kerr.UnknownTopicOrPartition, 503, CodeUnavailable}, // the queue is there, so it passes
	} {
		w := newWorld(t)
		id, group := w.queue(NewQueue{})
		w.broker.before = func(req kmsg.Request) (kmsg.Response, error) { return refusing(req, c.k.Code), nil }
		_, err := w.Receive(w.ctx, project, id, group, usual())
		var e *Error
		require.ErrorAs(t, err, &e, c.k.Message)
		require.Equal(t, []int{c.status, c.code}, []int{e.Status, e.Code}, c.k.Message)
		require.Equal(t, c.status == 429 || c.status == 503, e.RetryAfter > 0)

		sent, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`1`)}})
		if c.status == 500 {
			require.NoError(t, err)
			require.Equal(t, c.code, sent[0].Err.Code, "storage failures are told for each message")
			require.Empty(t, sent[0].ID)
		} else {
			require.Equal(t, c.code, code(t, err))
		}
	}
}

func TestOfAPartialFailureEachMessageTells(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
		if req.Key() == private.KeyDelay {
			return &private.DelayResponse{ErrorCode: kerr.KafkaStorageError.Code}, nil
		}
		return nil, nil
	}
	sent, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`1`), Delay: time.Hour}, {Body: []byte(`2`)}})
	require.NoError(t, err)
	require.Equal(t, CodeStorage, sent[0].Err.Code)
	require.Nil(t, sent[1].Err)
	require.NotEmpty(t, sent[1].ID)
}

func TestABrokerThatIsGoneIsUnavailableAndAnEndedContextIsToldAsSuch(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	w.broker.before = func(kmsg.Request) (kmsg.Response, error) { return nil, errCut }
	_, err := w.Queue(w.ctx, project, id)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []int{503, CodeUnavailable}, []int{e.Status, e.Code})
	require.Positive(t, e.RetryAfter)
	w.broker.before = nil

	ctx, cancel := context.WithCancel(w.ctx)
	w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
		if req.Key() == private.KeyLease {
			cancel()
		}
		return nil, nil
	}
	_, err = w.Receive(ctx, project, id, group, Receive{Max: 1, Wait: time.Minute, AckWait: time.Minute})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.As(err, &e))
}

func TestAGroupThatIsNotRegisteredAnyMoreIsRegisteredAgain(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	w.send(id, `1`)
	delete(w.broker.groups, group)
	require.Equal(t, "1", bodies(w.receive(id, group)))
}

func TestAWriteOfUnknownFateIsLookedAfter(t *testing.T) {
	for _, done := range []bool{false, true} {
		w := newWorld(t)
		writes := 0
		w.broker.before = func(req kmsg.Request) (kmsg.Response, error) {
			r, ok := req.(*private.WriteDocumentsRequest)
			if ok {
				writes++
			}
			if !ok || writes%2 == 0 {
				return nil, nil
			}
			if done {
				w.broker.write(r)
			}
			return &private.WriteDocumentsResponse{ErrorCode: kerr.RequestTimedOut.Code}, nil
		}
		id, group := w.queue(NewQueue{})
		require.NoError(t, w.PutTag(w.ctx, project, id, Tag{"a", "b"}))
		w.broker.before = nil
		w.whole()
		w.send(id, `1`)
		require.Equal(t, "1", bodies(w.receive(id, group)), fmt.Sprint(done))
	}
}
