package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// page is how many documents are read in one request.
const page = 500

// mostAttempts bounds how often a change starts again because another came first, after a pause that grows up to mostYield.
const (
	mostAttempts = 100
	mostYield    = 20 * time.Millisecond
)

// yield lets others go first before an attempt that is not the first.
func yield(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return ctx.Err()
	}
	return rest(ctx, min(time.Duration(attempt)*time.Millisecond, mostYield))
}

// document reads one document; ok is false when it is not there.
func (s *Service) document(ctx context.Context, kind, name string) (d private.Document, ok bool, err error) {
	resp, err := ask[*private.ReadDocumentsResponse](ctx, s, &private.ReadDocumentsRequest{Kind: kind, Name: name})
	if err == nil {
		err = refused("read documents", resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil || len(resp.Documents) == 0 {
		return d, false, err
	}
	return resp.Documents[0], true, nil
}

// documents calls each for the documents whose names begin with prefix, by name.
func (s *Service) documents(ctx context.Context, kind, prefix string, each func(private.Document) error) error {
	req := &private.ReadDocumentsRequest{Kind: kind, Name: prefix, Prefix: true, Limit: page}
	for {
		resp, err := ask[*private.ReadDocumentsResponse](ctx, s, req)
		if err == nil {
			err = refused("read documents", resp.ErrorCode, resp.ErrorMessage)
		}
		if err != nil {
			return err
		}
		for _, d := range resp.Documents {
			if err := each(d); err != nil {
				return err
			}
		}
		if !resp.More || len(resp.Documents) == 0 {
			return nil
		}
		next := *req
		next.After = resp.Documents[len(resp.Documents)-1].Name
		req = &next
	}
}

// transaction is a change of documents under conditions.
type transaction struct{ req private.WriteDocumentsRequest }

func (t *transaction) when(kind, name string, revision int64) {
	t.req.If = append(t.req.If, private.DocumentCondition{Kind: kind, Name: name, Revision: revision})
}

func (t *transaction) put(kind, name string, v any) {
	value, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("queue: a document that is no JSON: %v", err)) // broken invariant: our own types
	}
	t.req.Then = append(t.req.Then, private.DocumentChange{Kind: kind, Name: name, Value: value})
}

func (t *transaction) remove(kind, name string) {
	t.req.Then = append(t.req.Then, private.DocumentChange{Kind: kind, Name: name, Delete: true})
}

// commit makes the change; the revision is that of all it wrote.
func (s *Service) commit(ctx context.Context, t *transaction) (revision int64, err error) {
	for _, c := range t.req.Then {
		if len(c.Value) > private.MaxDocument {
			return 0, badf(CodeFormat, "The request format is incorrect: what is kept of the queue would become too large.")
		}
	}
	resp, err := ask[*private.WriteDocumentsResponse](ctx, s, &t.req)
	if err != nil {
		return 0, err
	}
	return resp.Revision, refused("write documents", resp.ErrorCode, resp.ErrorMessage)
}

// again is nil when a change is to start anew from what is there now: another came first, or nobody knows whether it was made,
// once. Otherwise it is the change's error.
func again(err, last error) error {
	if isRefusal(err, kerr.InvalidUpdateVersion) || isRefusal(err, kerr.RequestTimedOut) && !isRefusal(last, kerr.RequestTimedOut) {
		return nil
	}
	return err
}

// read is the queue of that id, nil if there is none; one that is being deleted is found.
func (s *Service) read(ctx context.Context, project, id string) (*queue, error) {
	name := project + "/" + id
	d, ok, err := s.document(ctx, private.KindQueues, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		s.cache.drop(name)
		return nil, nil
	}
	return s.decoded(project, id, d)
}

// decoded is a read document in the form it is worked with.
func (s *Service) decoded(project, id string, d private.Document) (*queue, error) {
	if q := s.cache.get(d.Name); q != nil && q.revision == d.Revision {
		return q, nil
	}
	q, err := newQueue(project, id, d)
	if err == nil {
		s.cache.put(d.Name, q)
	}
	return q, err
}

// each calls do for the queues of a project, or with an empty project for all there are, in no particular order.
func (s *Service) each(ctx context.Context, project string, do func(*queue) error) error {
	prefix := ""
	if project != "" {
		prefix = project + "/"
	}
	return s.documents(ctx, private.KindQueues, prefix, func(d private.Document) error {
		owner, id, _ := strings.Cut(d.Name, "/")
		q, err := s.decoded(owner, id, d)
		if err != nil {
			return err
		}
		return do(q)
	})
}

// find is the queue that a request names, ready to be used.
func (s *Service) find(ctx context.Context, project, id string) (*queue, error) {
	if err := checkNames(project, id); err != nil {
		return nil, err
	}
	q, err := s.read(ctx, project, id)
	if err != nil {
		return nil, err
	}
	if q == nil || q.Deleting {
		return nil, noQueue(id)
	}
	if q.Topic.IsZero() {
		return s.complete(ctx, q)
	}
	return q, nil
}

// missing is what an error of a request about a queue's topic means where the broker does not know that: the queue was just deleted.
// A partition that closes answers like one that is not open yet, so there the documents decide.
func (s *Service) missing(ctx context.Context, q *queue, err error) error {
	switch {
	case isRefusal(err, kerr.UnknownTopicID):
		return noQueue(q.id)
	case isRefusal(err, kerr.UnknownTopicOrPartition):
		if _, gone := s.find(ctx, q.project, q.id); gone != nil {
			return gone
		}
	}
	return err
}

// findGroup is the queue and the group that a request names, ready to be used.
func (s *Service) findGroup(ctx context.Context, project, id, group string) (*queue, *group, error) {
	if err := checkNames(project, id); err != nil {
		return nil, nil, err
	}
	if _, ok := parseGroupID(group); !ok {
		return nil, nil, badf(CodeGroupID, "The consumer group ID format is invalid.")
	}
	q, err := s.find(ctx, project, id)
	if err != nil {
		return nil, nil, err
	}
	g := q.group(group)
	if g == nil {
		return nil, nil, noGroup(group)
	}
	if g.Ready {
		return q, g, nil
	}
	if q, err = s.completeGroups(ctx, q); err != nil {
		return nil, nil, err
	}
	if g = q.group(group); g == nil {
		return nil, nil, noGroup(group)
	}
	return q, g, nil
}

// errUnchanged is answered by a change that finds nothing to do.
var errUnchanged = errors.New("nothing to change")

// update changes a queue's document, beginning with what is there and starting again as long as others come first. change gets a
// copy of the document that it may alter, and a transaction to which it may add; it answers errUnchanged when there is nothing
// to do. A queue that is not there is noQueue; one that is being deleted is shown to change.
func (s *Service) update(ctx context.Context, project, id string, change func(*queueDoc, *transaction) error) (*queue, error) {
	var last error
	for attempt := range mostAttempts {
		if err := yield(ctx, attempt); err != nil {
			return nil, err
		}
		q, err := s.read(ctx, project, id)
		if err != nil {
			return nil, err
		}
		if q == nil {
			return nil, noQueue(id)
		}
		doc, t := q.copied(), &transaction{}
		if err = change(doc, t); errors.Is(err, errUnchanged) {
			return q, nil
		} else if err != nil {
			return nil, err
		}
		t.when(private.KindQueues, q.docName(), q.revision)
		t.put(private.KindQueues, q.docName(), doc)
		revision, err := s.commit(ctx, t)
		if err == nil {
			return s.decoded(project, id, private.Document{Name: q.docName(), Value: t.req.Then[len(t.req.Then)-1].Value, Revision: revision})
		}
		if last, err = err, again(err, last); err != nil {
			return nil, err
		}
	}
	return nil, refused("change of a queue", kerr.ThrottlingQuotaExceeded.Code, "others change it all the time")
}

// copied is a copy of the document that may be altered.
func (q *queue) copied() *queueDoc {
	doc := q.queueDoc
	doc.Groups = append([]groupDoc(nil), q.Groups...)
	return &doc
}
