package queue

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func add(tags ...string) TagChange {
	var c TagChange
	for _, t := range tags {
		key, value, _ := strings.Cut(t, "=")
		c.Tags = append(c.Tags, TagRemoval{key, &value})
	}
	return c
}

func remove(tags ...string) TagChange {
	c := add(tags...)
	c.Delete = true
	for i, t := range tags {
		if !strings.Contains(t, "=") {
			c.Tags[i].Value = nil
		}
	}
	return c
}

func TestTagsAreAddedOverwrittenAndRemoved(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	other, _ := w.queue(NewQueue{Name: "other"})
	change := func(c TagChange) { require.NoError(t, w.ChangeTags(w.ctx, project, id, c)) }
	shown := func() string {
		tags, err := w.Tags(w.ctx, project, id)
		require.NoError(t, err)
		require.NotNil(t, tags)
		return fmt.Sprint(tags)
	}
	require.Equal(t, "[]", shown())
	change(add("env=prod", "team=a"))
	require.NoError(t, w.PutTag(w.ctx, project, id, Tag{"env", "test"}))
	require.NoError(t, w.PutTag(w.ctx, project, id, Tag{"empty", ""}))
	require.Equal(t, "[{env test} {team a} {empty }]", shown())
	change(remove("env=prod", "absent", "team"))
	require.Equal(t, "[{env test} {empty }]", shown(), "with a value only that pair, without it any")
	require.NoError(t, w.PutTag(w.ctx, project, other, Tag{"env", "prod"}))
	all, err := w.ProjectTags(w.ctx, project)
	require.NoError(t, err)
	require.Equal(t, []TagValues{{"empty", []string{""}}, {"env", []string{"prod", "test"}}}, all)

	require.NoError(t, w.DeleteTag(w.ctx, project, id, "env"))
	require.Equal(t, CodeTagNotFound, code(t, w.DeleteTag(w.ctx, project, id, "env")))
	require.Equal(t, CodeTagKeyLength, code(t, w.DeleteTag(w.ctx, project, id, "")))
	change(remove("empty"))
	require.Equal(t, "[]", shown())
}

func TestWhatIsWrongWithTagsHasItsCode(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = fmt.Sprintf("k%d=v", i)
	}
	require.NoError(t, w.ChangeTags(w.ctx, project, id, add(ten...)))
	for _, c := range []struct {
		change TagChange
		code   int
	}{
		{add(), CodeTagKeyLength},
		{add("=v"), CodeTagKeyLength},
		{add(strings.Repeat("ä", 37) + "=v"), CodeTagKeyLength},
		{add("k*=v"), CodeTagKey}, {add("k<=v"), CodeTagKey}, {add("k/=v"), CodeTagKey}, {add("k\x1f=v"), CodeTagKey},
		{add("k=" + strings.Repeat("ä", 44)), CodeTagValueLength},
		{add("k=a=b"), CodeTagValue}, {add(`k=\`), CodeTagValue}, {add("k=,"), CodeTagValue}, {add("k=|"), CodeTagValue},
		{add("new=v"), CodeTooManyTags},
		{add("k0=a", "k0=b"), CodeTagTwice},
		{remove(""), CodeTagKeyLength},
	} {
		require.Equal(t, c.code, code(t, w.ChangeTags(w.ctx, project, id, c.change)), "%+v", c.change)
	}
	require.NoError(t, w.ChangeTags(w.ctx, project, id, add(ten[3:]...)), "what is there is overwritten")
	require.NoError(t, w.ChangeTags(w.ctx, project, id, remove("k0", "k1")))
	require.NoError(t, w.ChangeTags(w.ctx, project, id, add(strings.Repeat("ä", 36)+"="+strings.Repeat("ä", 43))))
	tags, err := w.Tags(w.ctx, project, id)
	require.NoError(t, err)
	require.Len(t, tags, 9)
	_, err = w.Tags(w.ctx, project, newUUID())
	require.Equal(t, CodeQueueNotFound, code(t, err))
	require.Equal(t, CodeQueueID, code(t, w.PutTag(w.ctx, project, "x", Tag{"a", "b"})))
	require.Equal(t, CodeQueueID, code(t, w.DeleteTag(w.ctx, project, "x", "a")))
}

func TestTagsAreBoundedWhoeverAddsThem(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if err := w.PutTag(w.ctx, project, id, Tag{fmt.Sprint(i), "v"}); err != nil && code(t, err) != CodeTooManyTags {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tags, err := w.Tags(w.ctx, project, id)
	require.NoError(t, err)
	require.Len(t, tags, 10)
}

func TestQueuesAreFoundByTheirTags(t *testing.T) {
	now := time.Now().Add(-time.Hour)
	broker := newFake(t)
	w := &world{T: t, ctx: t.Context(), broker: broker, Service: New(Options{Broker: broker, Now: func() time.Time { now = now.Add(time.Second); return now }})}
	for _, q := range []struct {
		name string
		tags []string
	}{{"orders", []string{"env=prod", "team=a"}}, {"clicks", []string{"env=test", "team=a"}}, {"orders-old", []string{"env=prod", "team=b"}}, {"plain", nil}} {
		id, _ := w.queue(NewQueue{Name: q.name})
		if q.tags != nil {
			require.NoError(t, w.ChangeTags(w.ctx, project, id, add(q.tags...)))
		}
	}
	tag := func(key string, values ...string) TagValues { return TagValues{key, values} }
	list := func(tags ...TagValues) []TagValues { return tags }
	for _, c := range []struct {
		search TagSearch
		found  string
	}{
		{TagSearch{}, "orders clicks orders-old plain"},
		{TagSearch{All: list(tag("env", "prod"))}, "orders orders-old"},
		{TagSearch{All: list(tag("env", "prod", "test"), tag("team", "a"))}, "orders clicks"},
		{TagSearch{All: list(tag("env"))}, "orders clicks orders-old"},
		{TagSearch{Any: list(tag("env", "test"), tag("team", "b"))}, "clicks orders-old"},
		{TagSearch{NotAll: list(tag("env", "prod"), tag("team", "a"))}, "clicks orders-old plain"},
		{TagSearch{NotAny: list(tag("env", "test"), tag("team", "b"))}, "orders plain"},
		{TagSearch{Name: "orders"}, "orders orders-old"},
		{TagSearch{Name: "orders", All: list(tag("team", "b"))}, "orders-old"},
		{TagSearch{Limit: 2, Offset: 1}, "clicks orders-old"},
		{TagSearch{Offset: 9}, ""},
	} {
		found, total, err := w.SearchTags(w.ctx, project, c.search)
		require.NoError(t, err)
		names := make([]string, len(found))
		for i, m := range found {
			names[i] = m.Name
		}
		require.Equal(t, c.found, strings.Join(names, " "), "%+v", c.search)
		if c.search.Limit == 0 && c.search.Offset == 0 {
			require.Equal(t, len(found), total)
		} else {
			require.Equal(t, 4, total)
		}
	}
	found, _, err := w.SearchTags(w.ctx, project, TagSearch{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []Tag{{"env", "prod"}, {"team", "a"}}, found[0].Tags)
}

func TestWhatIsWrongWithASearchHasItsCode(t *testing.T) {
	w := newWorld(t)
	var eleven []TagValues
	var values []string
	for i := range 11 {
		eleven, values = append(eleven, TagValues{Key: fmt.Sprint(i)}), append(values, fmt.Sprint(i))
	}
	for _, c := range []struct {
		list []TagValues
		code int
	}{
		{eleven, CodeTooManyTags},
		{[]TagValues{{Key: "a", Values: values}}, CodeTooManyTags},
		{[]TagValues{{Key: ""}}, CodeTagKeyLength},
		{[]TagValues{{Key: strings.Repeat("a", 128)}}, CodeTagKeyLength},
		{[]TagValues{{Key: "a"}, {Key: "a"}}, CodeTagTwice},
		{[]TagValues{{Key: "a", Values: []string{"x", "x"}}}, CodeTagTwice},
		{[]TagValues{{Key: "a", Values: []string{strings.Repeat("a", 256)}}}, CodeTagValueLength},
	} {
		for _, s := range []TagSearch{{All: c.list}, {Any: c.list}, {NotAll: c.list}, {NotAny: c.list}} {
			_, _, err := w.SearchTags(w.ctx, project, s)
			require.Equal(t, c.code, code(t, err), "%+v", s)
		}
	}
	for _, c := range []struct{ limit, offset, code int }{{-1, 0, CodeTagLimit}, {1001, 0, CodeTagLimit}, {0, -1, CodeTagOffset}} {
		_, _, err := w.SearchTags(w.ctx, project, TagSearch{Limit: c.limit, Offset: c.offset})
		require.Equal(t, c.code, code(t, err))
	}
}
