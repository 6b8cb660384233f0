package queue

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Limits of searches (DMS reference, section 7).
const (
	mostSearchKeys   = 10 // in a list
	mostSearchValues = 10 // of a key
	mostSearchKey    = 127
	mostSearchValue  = 255
	mostFound        = 1000 // in a page
)

// SearchTags finds queues of a project by tags and name, in the order of their creation, and tells how many match in all, whatever
// Limit and Offset. Limit 0 is 1000.
func (s *Service) SearchTags(ctx context.Context, project string, t TagSearch) ([]TagMatch, int, error) {
	if err := checkProject(project); err != nil {
		return nil, 0, err
	}
	if err := checkSearch(&t); err != nil {
		return nil, 0, err
	}
	found, tags, err := s.matching(ctx, project, &t)
	if err != nil {
		return nil, 0, s.told(err)
	}
	slices.SortFunc(found, func(a, b *queue) int { return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.id, b.id)) })
	total := len(found)
	found = found[min(t.Offset, total):]
	found = found[:min(cmp.Or(t.Limit, mostFound), len(found))]
	out := make([]TagMatch, len(found))
	for i, q := range found {
		out[i] = TagMatch{ID: q.id, Name: q.Name, Tags: shownTags(tags[q.docName()])}
	}
	return out, total, nil
}

// matching is the queues that a search is for, in no particular order, and the tags of all queues of the project.
func (s *Service) matching(ctx context.Context, project string, t *TagSearch) ([]*queue, map[string][]tagDoc, error) {
	tags := make(map[string][]tagDoc)
	err := s.documents(ctx, private.KindTags, project+"/", func(d private.Document) (err error) {
		tags[d.Name], err = decodeTags(d)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var found []*queue
	err = s.each(ctx, project, func(q *queue) error {
		if !q.Deleting && strings.Contains(q.Name, t.Name) && t.selects(tags[q.docName()]) {
			found = append(found, q)
		}
		return nil
	})
	return found, tags, err
}

// selects tells whether a queue with these tags is one that is searched for (D34).
func (t *TagSearch) selects(tags []tagDoc) bool {
	has := func(want TagValues) bool {
		return slices.ContainsFunc(tags, func(t tagDoc) bool {
			return t.Key == want.Key && (len(want.Values) == 0 || slices.Contains(want.Values, t.Value))
		})
	}
	hasNot := func(want TagValues) bool { return !has(want) }
	switch {
	case slices.ContainsFunc(t.All, hasNot):
	case len(t.Any) > 0 && !slices.ContainsFunc(t.Any, has):
	case len(t.NotAll) > 0 && !slices.ContainsFunc(t.NotAll, hasNot):
	case slices.ContainsFunc(t.NotAny, has):
	default:
		return true
	}
	return false
}

func checkSearch(t *TagSearch) error {
	for _, list := range [...][]TagValues{t.All, t.Any, t.NotAll, t.NotAny} {
		if err := checkSearchList(list); err != nil {
			return err
		}
	}
	switch {
	case t.Limit < 0 || t.Limit > mostFound:
		return badf(CodeTagLimit, "limit must be 1 to %d.", mostFound)
	case t.Offset < 0:
		return badf(CodeTagOffset, "offset must not be negative.")
	}
	return nil
}

func checkSearchList(list []TagValues) error {
	if len(list) > mostSearchKeys {
		return badf(CodeTooManyTags, "A list of tags may have at most %d keys.", mostSearchKeys)
	}
	for i, t := range list {
		switch n := utf8.RuneCountInString(t.Key); {
		case n == 0 || n > mostSearchKey:
			return badf(CodeTagKeyLength, "A tag key to search for must be 1 to %d characters long.", mostSearchKey)
		case slices.ContainsFunc(list[:i], func(o TagValues) bool { return o.Key == t.Key }):
			return badf(CodeTagTwice, "The tag key %s is used twice in a list.", t.Key)
		case len(t.Values) > mostSearchValues:
			return badf(CodeTooManyTags, "A tag key to search for may have at most %d values.", mostSearchValues)
		}
		for k, value := range t.Values {
			switch {
			case utf8.RuneCountInString(value) > mostSearchValue:
				return badf(CodeTagValueLength, "A tag value to search for must not be longer than %d characters.", mostSearchValue)
			case slices.Contains(t.Values[:k], value):
				return badf(CodeTagTwice, "The tag value %s is used twice for the key %s.", value, t.Key)
			}
		}
	}
	return nil
}
