package rest

import (
	"net/http"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// standardLimit is how many queues a search gives unless it says, and at most.
const standardLimit = 1000

// searchQueues is POST queue/resource_instances/action (7).
func (x *exchange) searchQueues() (int, error) {
	search, countOnly, err := tagSearch(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	found, total, err := x.server.queues.SearchTags(x.r.Context(), x.project, search)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	if !countOnly {
		a.begin("resources", '[')
		for i := range found {
			a.open('{')
			a.text("resource_id", found[i].ID)
			a.text("resource_name", found[i].Name)
			a.null("resource_detail")
			a.tags(found[i].Tags)
			a.close('}')
		}
		a.close(']')
	}
	a.integer("total_count", int64(total))
	a.close('}')
	return http.StatusOK, nil
}

func tagSearch(in []byte) (s queue.TagSearch, countOnly bool, err error) {
	body, err := document(in)
	if err != nil {
		return s, false, err
	}
	action, _, err := body.text("action")
	if err != nil || action != "filter" && action != "count" {
		return s, false, refuse(codeSearchAction, "The action must be filter or count, not %q.", clip(action))
	}
	countOnly = action == "count"
	for _, list := range []struct {
		name string
		into *[]queue.TagValues
	}{{"tags", &s.All}, {"tags_any", &s.Any}, {"not_tags", &s.NotAll}, {"not_tags_any", &s.NotAny}} {
		if *list.into, err = tagValues(body, list.name); err != nil {
			return s, false, err
		}
	}
	if s.Name, err = match(body); err != nil {
		return s, false, err
	}
	s.Limit = standardLimit
	if countOnly {
		return s, true, nil
	}
	if s.Limit, err = digits(body, "limit", 1, standardLimit, standardLimit, queue.CodeTagLimit); err != nil {
		return s, false, err
	}
	s.Offset, err = digits(body, "offset", 0, 1<<31-1, 0, queue.CodeTagOffset)
	return s, false, err
}

func tagValues(body object, name string) (list []queue.TagValues, err error) {
	entries, _, err := body.objects(name, mostTagsSent)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		var t queue.TagValues
		if t.Key, _, err = entry.text("key"); err != nil {
			return nil, err
		}
		raws, _, err := entry.list("values", mostValuesSent)
		if err != nil {
			return nil, err
		}
		for _, raw := range raws {
			if !isText(raw) {
				return nil, shape("the values in %s must be strings", name)
			}
			t.Values = append(t.Values, textOf(raw))
		}
		list = append(list, t)
	}
	return list, nil
}

// match gives the part of the name that is looked for.
func match(body object) (string, error) {
	matches, _, err := body.objects("matches", mostTagsSent)
	if err != nil {
		return "", err
	}
	name := ""
	for _, m := range matches {
		key, _, err := m.text("key")
		if err != nil {
			return "", err
		}
		if key != "resource_name" {
			return "", shape("the key in matches must be resource_name, not %q", clip(key))
		}
		if name, _, err = m.text("value"); err != nil {
			return "", err
		}
	}
	return name, nil
}

// digits reads an integer that is sent as a string; as a number it is taken too.
func digits(body object, name string, least, most, standard, code int) (int, error) {
	raw, given := body.get(name)
	if !given || string(raw) == `""` {
		return standard, nil
	}
	n, whole := integerOf(raw)
	if isText(raw) {
		d, err := decimal(textOf(raw))
		n, whole = int64(d), err == nil
	}
	if !whole || n < int64(least) || n > int64(most) {
		return 0, refuse(code, "The value of %s must be an integer from %d to %d, not %s.", name, least, most, clip(string(raw)))
	}
	return int(n), nil
}
