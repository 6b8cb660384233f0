package rest

import (
	"net/http"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Bounds of requests; what a queue may have is the queue's to say.
const (
	mostTagsSent   = 100
	mostValuesSent = 100
)

// putTag is POST queue/{queue_id}/tags (7).
func (x *exchange) putTag() (int, error) {
	t, err := oneTag(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	return http.StatusNoContent, x.server.queues.PutTag(x.r.Context(), x.project, x.queue, t)
}

func oneTag(in []byte) (t queue.Tag, err error) {
	body, err := document(in)
	if err != nil {
		return t, err
	}
	raw, given := body.get("tag")
	if !given {
		return t, shape("tag is missing")
	}
	c := cursor{data: raw}
	tag, err := c.object("tag")
	if err != nil {
		return t, err
	}
	if t.Key, _, err = tag.text("key"); err != nil {
		return t, err
	}
	t.Value, _, err = tag.text("value")
	return t, err
}

// changeTags is POST queue/{queue_id}/tags/action (7).
func (x *exchange) changeTags() (int, error) {
	change, err := tagChange(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	return http.StatusNoContent, x.server.queues.ChangeTags(x.r.Context(), x.project, x.queue, change)
}

func tagChange(in []byte) (change queue.TagChange, err error) {
	body, err := document(in)
	if err != nil {
		return change, err
	}
	action, _, err := body.text("action")
	if err != nil || action != "create" && action != "delete" {
		return change, refuse(codeTagAction, "The action must be create or delete, not %q.", clip(action))
	}
	change.Delete = action == "delete"
	tags, given, err := body.objects("tags", mostTagsSent)
	if err != nil {
		return change, err
	}
	if !given || len(tags) == 0 {
		return change, shape("tags must be an array with at least one tag")
	}
	for _, tag := range tags {
		var t queue.TagRemoval
		if t.Key, _, err = tag.text("key"); err != nil {
			return change, err
		}
		value, given, err := tag.text("value")
		if err != nil {
			return change, err
		}
		if given || !change.Delete { // in a removal no value stands for any
			t.Value = &value
		}
		change.Tags = append(change.Tags, t)
	}
	return change, nil
}

// deleteTag is DELETE queue/{queue_id}/tags/{key} (7).
func (x *exchange) deleteTag() (int, error) {
	if x.key == "" {
		return 0, refuse(queue.CodeTagKeyLength, "The tag key is empty.")
	}
	return http.StatusNoContent, x.server.queues.DeleteTag(x.r.Context(), x.project, x.queue, x.key)
}

// listTags is GET queue/{queue_id}/tags (7).
func (x *exchange) listTags() (int, error) {
	tags, err := x.server.queues.Tags(x.r.Context(), x.project, x.queue)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.tags(tags)
	a.close('}')
	return http.StatusOK, nil
}

func (a *answer) tags(tags []queue.Tag) {
	a.begin("tags", '[')
	for _, t := range tags {
		a.open('{')
		a.text("key", t.Key)
		a.text("value", t.Value)
		a.close('}')
	}
	a.close(']')
}

// listProjectTags is GET queue/tags (7).
func (x *exchange) listProjectTags() (int, error) {
	tags, err := x.server.queues.ProjectTags(x.r.Context(), x.project)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.begin("tags", '[')
	for _, t := range tags {
		a.open('{')
		a.text("key", t.Key)
		a.begin("values", '[')
		for _, value := range t.Values {
			a.element(value)
		}
		a.close(']').close('}')
	}
	a.close(']').close('}')
	return http.StatusOK, nil
}
