package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// retrieval is what receive and deadletters have in common.
type retrieval struct {
	c           *queueClient
	deadLetters bool
	max         int
	wait        time.Duration
	ackWait     time.Duration
	labels      []string
	all         bool
	ack         bool
	redrive     bool

	got          jsonList // with --json
	acknowledged int
	sent         int // again
}

func (r *retrieval) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&r.max, "max", messagesAtOnce, "at most so many messages")
	f.DurationVar(&r.wait, "wait", 3*time.Second, "for the first message, 1s to 60s")
	f.DurationVar(&r.ackWait, "ack-wait", 30*time.Second, "in which they have to be acknowledged, 15s to 5m; later they come again")
	f.BoolVar(&r.ack, "ack", false, "acknowledge what was printed")
}

func queueReceive(c *queueClient) *cobra.Command {
	r := &retrieval{c: c}
	cmd := &cobra.Command{Use: "receive QUEUE GROUP", Short: "Receive messages for a group, each with the handle that acknowledges it", Args: wantArgs("a queue and a group", 2, 2)}
	r.flags(cmd)
	cmd.Flags().StringArrayVar(&r.labels, "label", nil, "only messages with this `label`, repeated; the first labels that a group asks for are its rule for good")
	cmd.Flags().BoolVar(&r.all, "all-labels", false, "only messages with all the labels, not any of them")
	cmd.RunE = c.over(r.run)
	return cmd
}

func queueDeadLetters(c *queueClient) *cobra.Command {
	r := &retrieval{c: c, deadLetters: true}
	cmd := &cobra.Command{Use: "deadletters QUEUE GROUP", Short: "Receive the dead letters of a group; acknowledge them, or send them again", Args: wantArgs("a queue and a group", 2, 2)}
	cmd.Long = cmd.Short + ".\nWhatever a queue takes fits into its dead letters. Only a record that is larger than their topic was made to take, say because the queue\n" +
		"takes larger ones since, is dropped at its limit, which the broker logs with its offset and size."
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.redrive, "redrive", false, "send them to the queue again, where every group gets them, then acknowledge the dead letters")
	cmd.RunE = c.over(r.run)
	return cmd
}

// incoming is a message as the service answers it.
type incoming struct {
	Message struct {
		Body       json.RawMessage `json:"body"`
		Attributes json.RawMessage `json:"attributes"`
		Labels     []string        `json:"tags"`
	} `json:"message"`
	Handle string `json:"handler"`
}

// leastWait is the shortest time that the service can be told to wait.
const leastWait = time.Second

// run receives until there are as many as wanted, or no more: a call brings messages of one partition only.
func (r *retrieval) run(ctx context.Context, cmd *cobra.Command, args []string) error {
	if r.max < 1 {
		return fmt.Errorf("--max %d: want 1 or more", r.max)
	}
	for _, d := range []struct {
		flag        string
		value       time.Duration
		least, most time.Duration
	}{{"wait", r.wait, leastWait, time.Minute}, {"ack-wait", r.ackWait, 15 * time.Second, 5 * time.Minute}} {
		if d.value < d.least || d.value > d.most {
			return fmt.Errorf("--%s %s: want %s to %s", d.flag, d.value, d.least, d.most)
		}
	}
	q, g, err := r.c.group(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	r.got = jsonList{out: cmd.OutOrStdout(), name: "messages"}
	got, err := r.collect(ctx, cmd.OutOrStdout(), q, g)
	if err == nil && got == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "nothing came in %s\n", r.wait)
	}
	if r.c.json {
		numbers := []member{{"acknowledged", r.acknowledged}}
		if r.deadLetters {
			numbers = append(numbers, member{"sent_again", r.sent})
		}
		err = errors.Join(err, r.got.end(numbers...))
	}
	return err
}

// collect receives in calls of the service, and tells how many messages came.
func (r *retrieval) collect(ctx context.Context, out io.Writer, q queueView, g groupView) (got int, err error) {
	wait := r.wait
	for got < r.max {
		batch, raw, err := r.receive(ctx, q, g, min(r.max-got, messagesAtOnce), wait)
		if err != nil {
			return got, fmt.Errorf("queue %s, group %s: %w", q.Name, g.Name, err)
		}
		if len(batch) == 0 {
			break
		}
		wait, got = leastWait, got+len(batch)
		if err := r.done(ctx, out, q, g, batch, raw); err != nil {
			return got, err
		}
	}
	return got, nil
}

func (r *retrieval) what() string {
	if r.deadLetters {
		return "deadletters"
	}
	return "messages"
}

// receive makes one call of it.
func (r *retrieval) receive(ctx context.Context, q queueView, g groupView, most int, wait time.Duration) (batch []incoming, raw []json.RawMessage, err error) {
	query := url.Values{"max_msgs": {strconv.Itoa(most)}, "time_wait": {seconds(wait)}, "ack_wait": {seconds(r.ackWait)}, "tag": r.labels}
	if r.all {
		query.Set("tag_type", "and")
	}
	r.c.waiting = wait
	defer func() { r.c.waiting = 0 }()
	if err = r.c.call(ctx, http.MethodGet, r.c.path("queues", q.ID, "groups", g.ID, r.what())+"?"+query.Encode(), nil, &raw); err != nil {
		return nil, nil, err
	}
	batch = make([]incoming, len(raw))
	for i := range raw {
		if err = json.Unmarshal(raw[i], &batch[i]); err != nil {
			return nil, nil, err
		}
	}
	return batch, raw, nil
}

// seconds is a time in whole seconds, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// done prints what has come, sends it again and acknowledges it, as was asked for.
func (r *retrieval) done(ctx context.Context, out io.Writer, q queueView, g groupView, batch []incoming, raw []json.RawMessage) error {
	for i := range batch {
		if r.c.json {
			if err := r.got.add(raw[i]); err != nil { // before it is acknowledged
				return err
			}
			continue
		}
		batch[i].print(out, !r.ack && !r.redrive)
	}
	var failed error
	if r.redrive {
		var sent int
		if sent, failed = r.again(ctx, q, batch); sent < len(batch) {
			batch = batch[:sent]
		}
		r.sent += sent
	}
	if len(batch) == 0 || !r.ack && !r.redrive {
		return failed
	}
	handles := make([]string, len(batch))
	for i := range batch {
		handles[i] = batch[i].Handle
	}
	done, err := r.c.acknowledge(ctx, q, g, r.deadLetters, handles, true)
	r.acknowledged += done
	switch {
	case failed != nil:
		return failed
	case err != nil && r.redrive:
		return fmt.Errorf("queue %s: sent again, but the dead letters are not acknowledged and will come once more: %w", q.Name, err)
	case err != nil:
		return fmt.Errorf("queue %s, group %s: printed, but not acknowledged; they come again after --ack-wait: %w", q.Name, g.Name, err)
	case done < len(batch):
		return fmt.Errorf("queue %s, group %s: only %d of %d are acknowledged; the others come again after --ack-wait", q.Name, g.Name, done, len(batch))
	}
	if !r.c.json && r.redrive {
		fmt.Fprintf(out, "sent %d again\n", done)
	} else if !r.c.json {
		fmt.Fprintf(out, "acknowledged %d\n", done)
	}
	return nil
}

// again sends dead letters to the queue and tells how many of them are stored: the first ones.
func (r *retrieval) again(ctx context.Context, q queueView, batch []incoming) (sent int, err error) {
	for sent < len(batch) {
		var elements []json.RawMessage
		size := 0
		for i := range batch[sent:] {
			in := &batch[sent+i].Message
			m := outgoing{body: in.Body, attributes: in.Attributes, labels: in.Labels}
			element, err := m.element()
			if err != nil {
				return sent, err
			}
			if size += len(element); len(elements) > 0 && size > bytesAtOnce {
				break
			}
			elements = append(elements, element)
		}
		ids, err := r.c.send(ctx, q, elements)
		if sent += len(ids); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// print writes a message for people: its body, and indented what else there is of it.
func (m *incoming) print(out io.Writer, handle bool) {
	fmt.Fprintln(out, readable(m.Message.Body))
	if a := string(m.Message.Attributes); a != "" && a != "{}" {
		fmt.Fprintf(out, "  attributes %s\n", a)
	}
	if len(m.Message.Labels) > 0 {
		fmt.Fprintf(out, "  labels %s\n", strings.Join(m.Message.Labels, " "))
	}
	if handle {
		fmt.Fprintf(out, "  handle %s\n", m.Handle)
	}
}

// readable is a body as people read it: a string without its quotes, unless there is in it what terminals act on.
func readable(body json.RawMessage) string {
	var text string
	if json.Unmarshal(body, &text) != nil || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return string(body)
	}
	return text
}
