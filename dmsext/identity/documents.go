package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Broker is the broker's front door.
type Broker interface {
	// Do answers a request as from that principal.
	Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error)
}

// documents reads and writes documents; what is read is decoded once for each revision. Safe for concurrent use.
type documents struct {
	broker Broker
	cache  cache
}

// stored is a document that was read. Value is shared: it is not to be altered.
type stored[T any] struct {
	Value    *T
	Name     string
	Revision int64
	raw      []byte
}

// load reads one document; Value is nil when there is none, and Revision private.Absent.
func load[T any](ctx context.Context, d *documents, kind, name string) (stored[T], error) {
	found, _, err := d.read(ctx, &private.ReadDocumentsRequest{Kind: kind, Name: name})
	if err != nil || len(found) == 0 {
		return stored[T]{Name: name, Revision: private.Absent}, err
	}
	return decode[T](d, kind, &found[0])
}

// page is how many documents a listing reads at once.
const page = 500

// each calls f for each document of a kind in the order of their names, until f returns false.
func each[T any](ctx context.Context, d *documents, kind string, f func(stored[T]) bool) error {
	after := ""
	for {
		found, more, err := d.read(ctx, &private.ReadDocumentsRequest{Kind: kind, Prefix: true, After: after, Limit: page})
		if err != nil {
			return err
		}
		for i := range found {
			s, err := decode[T](d, kind, &found[i])
			if err != nil {
				return err
			}
			if !f(s) {
				return nil
			}
			after = found[i].Name
		}
		if !more || len(found) == 0 {
			return nil
		}
	}
}

// any tells whether there is a document of a kind whose name begins so.
func (d *documents) any(ctx context.Context, kind, prefix string) (bool, error) {
	found, _, err := d.read(ctx, &private.ReadDocumentsRequest{Kind: kind, Name: prefix, Prefix: true, Limit: 1})
	return len(found) > 0, err
}

func (d *documents) read(ctx context.Context, req *private.ReadDocumentsRequest) ([]private.Document, bool, error) {
	answer, err := d.broker.Do(ctx, private.Principal, req)
	if err != nil {
		return nil, false, fmt.Errorf("%w: reading %s %q: %w", ErrUnavailable, req.Kind, req.Name, err)
	}
	resp, ok := answer.(*private.ReadDocumentsResponse)
	if !ok {
		return nil, false, fmt.Errorf("%w: reading %s: the answer is a %T", ErrUnavailable, req.Kind, answer)
	}
	if resp.ErrorCode != 0 {
		return nil, false, fmt.Errorf("%w: reading %s %q: %w: %s", ErrUnavailable, req.Kind, req.Name, kerr.ErrorForCode(resp.ErrorCode), resp.ErrorMessage)
	}
	return resp.Documents, resp.More, nil
}

func decode[T any](d *documents, kind string, doc *private.Document) (stored[T], error) {
	s := stored[T]{Name: doc.Name, Revision: doc.Revision, raw: doc.Value}
	if v, ok := d.cache.get(kind, doc.Name, doc.Revision).(*T); ok {
		s.Value = v
		return s, nil
	}
	v := new(T)
	if err := json.Unmarshal(doc.Value, v); err != nil {
		return s, fmt.Errorf("%w: document %s %q, revision %d: %w", ErrUnavailable, kind, doc.Name, doc.Revision, err)
	}
	d.cache.put(kind, doc.Name, doc.Revision, v)
	s.Value = v
	return s, nil
}

// change is a write that is being put together.
type change struct{ req private.WriteDocumentsRequest }

// put writes a document that has that revision now, or none with private.Absent.
func (c *change) put(kind, name string, revision int64, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("document %s %q: %w", kind, name, err)
	}
	if len(text) > private.MaxDocument {
		return fmt.Errorf("%w: document %s %q of %d bytes", ErrLimit, kind, name, len(text))
	}
	c.putRaw(kind, name, revision, text)
	return nil
}

func (c *change) putRaw(kind, name string, revision int64, value []byte) {
	c.need(kind, name, revision)
	c.req.Then = append(c.req.Then, private.DocumentChange{Kind: kind, Name: name, Value: value})
}

// remove deletes a document that has that revision now.
func (c *change) remove(kind, name string, revision int64) {
	c.need(kind, name, revision)
	c.req.Then = append(c.req.Then, private.DocumentChange{Kind: kind, Name: name, Delete: true})
}

// drop deletes a document whatever it holds: one that another document in the change stands for.
func (c *change) drop(kind, name string) {
	c.req.Then = append(c.req.Then, private.DocumentChange{Kind: kind, Name: name, Delete: true})
}

func (c *change) need(kind, name string, revision int64) {
	c.req.If = append(c.req.If, private.DocumentCondition{Kind: kind, Name: name, Revision: revision})
}

// write makes the change, or fails with ErrConflict when a document is not as it was.
func (d *documents) write(ctx context.Context, c *change) error {
	answer, err := d.broker.Do(ctx, private.Principal, &c.req)
	if err != nil {
		return fmt.Errorf("%w: writing: %w", ErrUnavailable, err)
	}
	resp, ok := answer.(*private.WriteDocumentsResponse)
	if !ok {
		return fmt.Errorf("%w: writing: the answer is a %T", ErrUnavailable, answer)
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil:
		return nil
	case errors.Is(err, kerr.InvalidUpdateVersion):
		return ErrConflict
	default:
		return fmt.Errorf("%w: writing: %w: %s", ErrUnavailable, err, resp.ErrorMessage)
	}
}

// attempts bounds how often an operation begins again because somebody else was faster.
const attempts = 12

// retry runs an operation that reads and then writes, again from the start while documents change under it. It waits a
// little longer each time: this broker may not have seen yet what another one wrote.
func retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if !errors.Is(err, ErrConflict) || n == attempts {
			return err
		}
		wait := time.NewTimer(time.Duration(n) * 2 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}
