package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Limits of tags (DMS reference, section 7).
const (
	mostTags     = 10 // of a queue
	mostTagKey   = 36
	mostTagValue = 43
)

// tagsDoc is a document of kind tags; the order is that in which keys were added.
type tagsDoc struct {
	Tags []tagDoc `json:"tags"`
}

type tagDoc struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// badInTag tells whether a tag may not contain c.
func badInTag(c rune) bool { return c < ' ' || strings.ContainsRune(`=*<>\,|/`, c) }

func checkTagKey(key string) error {
	switch n := utf8.RuneCountInString(key); {
	case n == 0 || n > mostTagKey:
		return badf(CodeTagKeyLength, "A tag key must be 1 to %d characters long.", mostTagKey)
	case strings.ContainsFunc(key, badInTag):
		return badf(CodeTagKey, "A tag key must not contain control characters nor any of = * < > \\ , | /.")
	}
	return nil
}

func checkTagValue(value string) error {
	switch {
	case utf8.RuneCountInString(value) > mostTagValue:
		return badf(CodeTagValueLength, "A tag value must not be longer than %d characters.", mostTagValue)
	case strings.ContainsFunc(value, badInTag):
		return badf(CodeTagValue, "A tag value must not contain control characters nor any of = * < > \\ , | /.")
	}
	return nil
}

// PutTag adds a tag to a queue, or gives an existing key that value.
func (s *Service) PutTag(ctx context.Context, project, id string, t Tag) error {
	return s.ChangeTags(ctx, project, id, TagChange{Tags: []TagRemoval{{Key: t.Key, Value: &t.Value}}})
}

// ChangeTags adds tags to a queue or removes them, all or none (DMS reference 7, D36). In an addition a nil Value is an empty one.
// Tags to remove that are not there are fine.
func (s *Service) ChangeTags(ctx context.Context, project, id string, c TagChange) error {
	if err := checkNames(project, id); err != nil {
		return err
	}
	if err := checkTagChange(&c); err != nil {
		return err
	}
	return s.told(s.changeTags(ctx, project, id, func(tags []tagDoc) ([]tagDoc, error) {
		for _, t := range c.Tags {
			if c.Delete {
				tags = slices.DeleteFunc(tags, func(had tagDoc) bool { return had.Key == t.Key && (t.Value == nil || *t.Value == had.Value) })
				continue
			}
			next := tagDoc{Key: t.Key, Value: text(t.Value)}
			if i := slices.IndexFunc(tags, func(had tagDoc) bool { return had.Key == t.Key }); i >= 0 {
				tags[i] = next
			} else {
				tags = append(tags, next)
			}
		}
		if len(tags) > mostTags {
			return nil, badf(CodeTooManyTags, "A queue may have at most %d tags.", mostTags)
		}
		return tags, nil
	}))
}

func checkTagChange(c *TagChange) error {
	if len(c.Tags) == 0 {
		return badf(CodeTagKeyLength, "At least one tag must be given.")
	}
	seen := make(map[string]bool, min(len(c.Tags), 64))
	for _, t := range c.Tags {
		if err := checkTagKey(t.Key); err != nil {
			return err
		}
		if t.Value != nil {
			if err := checkTagValue(*t.Value); err != nil {
				return err
			}
		}
		if seen[t.Key] && !c.Delete {
			return badf(CodeTagTwice, "The tag key %s is used twice.", t.Key)
		}
		seen[t.Key] = true
	}
	if len(seen) > mostTags && !c.Delete {
		return badf(CodeTooManyTags, "A queue may have at most %d tags.", mostTags)
	}
	return nil
}

// DeleteTag removes one tag of a queue; a key that it does not have is an error.
func (s *Service) DeleteTag(ctx context.Context, project, id, key string) error {
	if err := checkNames(project, id); err != nil {
		return err
	}
	if key == "" {
		return badf(CodeTagKeyLength, "A tag key must be 1 to %d characters long.", mostTagKey)
	}
	return s.told(s.changeTags(ctx, project, id, func(tags []tagDoc) ([]tagDoc, error) {
		left := slices.DeleteFunc(tags, func(t tagDoc) bool { return t.Key == key })
		if len(left) == len(tags) {
			return nil, missingf(CodeTagNotFound, "The queue has no tag with the key %s.", key)
		}
		return left, nil
	}))
}

// changeTags changes a queue's tags, which are a copy for change to alter. The queue is there until the change is made.
func (s *Service) changeTags(ctx context.Context, project, id string, change func([]tagDoc) ([]tagDoc, error)) error {
	var last error
	for attempt := range mostAttempts {
		if err := yield(ctx, attempt); err != nil {
			return err
		}
		q, err := s.find(ctx, project, id)
		if err != nil {
			return err
		}
		tags, revision, err := s.readTags(ctx, q)
		if err != nil {
			return err
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		t := &transaction{}
		t.when(private.KindQueues, q.docName(), q.revision) // not deleted meanwhile
		t.when(private.KindTags, q.docName(), revision)
		if len(tags) == 0 {
			t.remove(private.KindTags, q.docName())
		} else {
			t.put(private.KindTags, q.docName(), tagsDoc{Tags: tags})
		}
		if _, err = s.commit(ctx, t); err == nil {
			return nil
		}
		if last, err = err, again(err, last); err != nil {
			return err
		}
	}
	return refused("change of tags", kerr.ThrottlingQuotaExceeded.Code, "others change them all the time")
}

// readTags reads the tags of a queue and their document's revision.
func (s *Service) readTags(ctx context.Context, q *queue) ([]tagDoc, int64, error) {
	d, ok, err := s.document(ctx, private.KindTags, q.docName())
	if err != nil || !ok {
		return nil, private.Absent, err
	}
	tags, err := decodeTags(d)
	return tags, d.Revision, err
}

func decodeTags(d private.Document) ([]tagDoc, error) {
	var doc tagsDoc
	if err := json.Unmarshal(d.Value, &doc); err != nil {
		return nil, fmt.Errorf("document of the tags of %s: %w", d.Name, err)
	}
	return doc.Tags, nil
}

// Tags shows the tags of a queue.
func (s *Service) Tags(ctx context.Context, project, id string) ([]Tag, error) {
	q, err := s.find(ctx, project, id)
	if err != nil {
		return nil, s.told(err)
	}
	tags, _, err := s.readTags(ctx, q)
	if err != nil {
		return nil, s.told(err)
	}
	return shownTags(tags), nil
}

func shownTags(tags []tagDoc) []Tag {
	out := make([]Tag, len(tags))
	for i, t := range tags {
		out[i] = Tag(t)
	}
	return out
}

// ProjectTags shows the keys that queues of a project have, with the values that each has, both sorted.
func (s *Service) ProjectTags(ctx context.Context, project string) ([]TagValues, error) {
	if err := checkProject(project); err != nil {
		return nil, err
	}
	values := make(map[string][]string)
	err := s.documents(ctx, private.KindTags, project+"/", func(d private.Document) error {
		tags, err := decodeTags(d)
		for _, t := range tags {
			values[t.Key] = append(values[t.Key], t.Value)
		}
		return err
	})
	if err != nil {
		return nil, s.told(err)
	}
	out := make([]TagValues, 0, len(values))
	for key, of := range values {
		slices.Sort(of)
		out = append(out, TagValues{Key: key, Values: slices.Compact(of)})
	}
	slices.SortFunc(out, func(a, b TagValues) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}
