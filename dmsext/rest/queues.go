package rest

import (
	"math"
	"net/http"
	"strconv"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Ranges of section 2.1 that have to be known where absent and 0 are still two things. The queues check the rest.
const (
	mostConsumes       = 100
	mostRetentionHours = 72
)

// createQueue is POST queues (2.1). partitions and retry_backoff_ms are ours: the vendor's clients do not send them.
func (x *exchange) createQueue() (int, error) {
	body, err := document(x.in)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	q, err := newQueue(body)
	if err != nil {
		return 0, controlBody.wrap(err)
	}
	made, err := x.server.queues.CreateQueue(x.r.Context(), x.project, q)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.text("id", made.ID)
	a.text("name", made.Name)
	if made.KafkaTopic != "" {
		a.text("kafka_topic", made.KafkaTopic)
	}
	a.close('}')
	return http.StatusCreated, nil
}

func newQueue(body object) (q queue.NewQueue, err error) {
	if q.Name, _, err = body.text("name"); err != nil {
		return q, err
	}
	mode, given, err := body.text("queue_mode")
	switch {
	case err != nil:
		return q, err
	case given && mode == "":
		return q, shape("queue_mode is empty")
	case !given:
		mode = string(queue.Normal)
	}
	q.Mode = queue.Mode(mode)
	if text, given, err := body.text("description"); err != nil {
		return q, err
	} else if given {
		q.Description = &text
	}
	if err = redrive(body, &q); err != nil {
		return q, err
	}
	if raw, given := body.get("retention_hours"); given {
		n, whole := integerOf(raw)
		if !whole || n < 1 || n > mostRetentionHours {
			return q, refuse(queue.CodeRetention, "The value of retention_hours must be an integer from 1 to %d, not %s.", mostRetentionHours, clip(string(raw)))
		}
		q.RetentionHours = int(n)
	}
	if raw, given := body.get("partitions"); given {
		n, whole := integerOf(raw)
		if !whole || n < 1 || n > math.MaxInt32 {
			return q, shape("partitions must be a positive integer, not %s", clip(string(raw)))
		}
		q.Partitions = int(n)
	}
	q.RetryBackoff, err = retryBackoff(body)
	return q, err
}

// retryBackoff reads retry_backoff_ms: milliseconds, or a text with a factor and a limit as well, which is the broker's to judge.
func retryBackoff(body object) (string, error) {
	raw, given := body.get("retry_backoff_ms")
	if !given || isText(raw) {
		text, _, err := body.text("retry_backoff_ms")
		return text, err
	}
	n, whole := integerOf(raw)
	if !whole || n < 0 {
		return "", shape("retry_backoff_ms must be milliseconds, or a string of milliseconds[,factor[,milliseconds at most]], not %s", clip(string(raw)))
	}
	return strconv.FormatInt(n, 10), nil
}

// redrive reads redrive_policy and max_consume_count, which counts only with it: clients send it as 0 without.
func redrive(body object, q *queue.NewQueue) error {
	policy, given, err := body.text("redrive_policy")
	if err != nil {
		return err
	}
	if given && policy != "disable" && policy != "enable" {
		return shape("redrive_policy must be enable or disable, not %q", clip(policy))
	}
	q.Redrive = policy == "enable"
	raw, given := body.get("max_consume_count")
	switch {
	case !given && q.Redrive:
		return refuse(queue.CodeMaxConsumeCount, "With redrive_policy, max_consume_count must be given, an integer from 1 to %d.", mostConsumes)
	case !given:
		return nil
	}
	n, whole := integerOf(raw)
	if !whole || n < 0 || n > mostConsumes || n == 0 && q.Redrive {
		return refuse(queue.CodeMaxConsumeCount, "The value of max_consume_count must be an integer from 1 to %d, not %s.", mostConsumes, clip(string(raw)))
	}
	if q.Redrive {
		q.MaxConsumeCount = int(n)
	}
	return nil
}

var listKeys = []string{"include_deadletter", "include_messages_num"}

// listQueues is GET queues (2.2). include_messages_num is read and has no effect: the number is always told (D18).
func (x *exchange) listQueues() (int, error) {
	var deadLetters, counts bool
	if err := readFlags(x.r.URL.RawQuery, listKeys, &deadLetters, &counts); err != nil {
		return 0, err
	}
	queues, err := x.server.queues.Queues(x.r.Context(), x.project)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.integer("total", int64(len(queues)))
	a.begin("queues", '[')
	for i := range queues {
		a.queue(&queues[i], deadLetters)
		a.close('}')
	}
	a.close(']').close('}')
	return http.StatusOK, nil
}

// showQueue is GET queues/{queue_id} (2.3).
func (x *exchange) showQueue() (int, error) {
	var deadLetters bool
	if err := readFlags(x.r.URL.RawQuery, listKeys[:1], &deadLetters); err != nil {
		return 0, err
	}
	q, err := x.server.queues.Queue(x.r.Context(), x.project, x.queue)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.queue(&q, deadLetters)
	if q.KafkaTopic != "" {
		a.text("kafka_topic", q.KafkaTopic)
	}
	a.text("topic", q.Topic) // this and what follows is ours
	a.integer("partitions", int64(q.Partitions))
	if q.RetryBackoff != "" {
		a.text("retry_backoff_ms", q.RetryBackoff)
	}
	a.close('}')
	return http.StatusOK, nil
}

// deleteQueue is DELETE queues/{queue_id} (2.4).
func (x *exchange) deleteQueue() (int, error) {
	return http.StatusNoContent, x.server.queues.DeleteQueue(x.r.Context(), x.project, x.queue)
}

// queue appends a queue and leaves its object open.
func (a *answer) queue(q *queue.Queue, deadLetters bool) {
	a.open('{')
	a.text("id", q.ID)
	a.text("name", q.Name)
	if q.Description == nil {
		a.null("description")
	} else {
		a.text("description", *q.Description)
	}
	a.text("queue_mode", string(q.Mode))
	a.integer("reservation", int64(q.Retention.Minutes()))
	a.integer("created", q.Created.UnixMilli())
	a.integer("eff_date", q.Created.UnixMilli())
	a.integer("max_msg_size_byte", int64(q.MaxMessageBytes))
	a.integer("produced_messages", q.Messages)
	if deadLetters && !q.Mode.Kafka() {
		a.text("redrive_policy", policyOf(q))
		a.integer("max_consume_count", int64(q.MaxConsumeCount))
	}
	a.integer("group_count", int64(q.Groups))
}

func policyOf(q *queue.Queue) string {
	if q.Redrive {
		return "enable"
	}
	return "disable"
}

// showQuotas is GET quotas/dms, in v2 GET quotas (6).
func (x *exchange) showQuotas() (int, error) {
	q, err := x.server.queues.Quota(x.r.Context(), x.project)
	if err != nil {
		return 0, err
	}
	a := &x.answer
	a.open('{')
	a.begin("quotas", '{')
	a.begin("resources", '[')
	a.open('{')
	a.text("type", "queue")
	a.integer("quota", int64(q.Limit))
	a.integer("used", int64(q.Used))
	a.integer("min", int64(q.Min))
	a.integer("max", int64(q.Max))
	a.close('}').close(']').close('}').close('}')
	return http.StatusOK, nil
}
