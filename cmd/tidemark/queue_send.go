package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Limits of one call of the service.
const (
	messagesAtOnce = 10
	bytesAtOnce    = 512 << 10
)

func queueSend(c *queueClient) *cobra.Command {
	var pattern outgoing
	var attributes []string
	var delay time.Duration
	var file string
	var text bool
	cmd := &cobra.Command{Use: "send QUEUE [BODY...]", Short: "Send messages: one for each body, or for each line of a file", Args: wantArgs("a queue", 1, -1),
		Long: "Send messages: one for each body, or for each line of a file. A body that is JSON is sent as what it is, any other one as a JSON string."}
	f := cmd.Flags()
	f.StringArrayVar(&attributes, "attribute", nil, "an attribute of each message, `name=value`, repeated")
	f.StringArrayVar(&pattern.labels, "label", nil, "a `label` of each message, for groups that read by labels; at most 3")
	f.DurationVar(&delay, "delay", 0, "until each may be received, up to 168h")
	f.StringVar(&file, "file", "", "`file` with a message in each line that is not empty; - for standard input")
	f.BoolVar(&text, "text", false, "send bodies as strings even if they are JSON")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if (file == "") == (len(args) == 1) {
			return fmt.Errorf("what is to be sent? Give a body after the queue, or a --file, and not both")
		}
		var err error
		if pattern.attributes, err = attributesOf(attributes); err != nil {
			return err
		}
		pattern.delay = delay
		q, err := c.queue(ctx, args[0])
		if err != nil {
			return err
		}
		s := &sending{c: c, queue: q, out: cmd.OutOrStdout(), pattern: pattern, text: text, quiet: file != "" && !c.json}
		s.ids = jsonList{out: s.out, name: "sent"}
		if file != "" {
			err = s.file(ctx, file, cmd.InOrStdin())
		} else {
			err = s.bodies(ctx, args[1:])
		}
		if c.json {
			err = errors.Join(err, s.ids.end())
		}
		return err
	})
	return cmd
}

// attributesOf makes the JSON object of attributes that are given as name=value; nil of none.
func attributesOf(given []string) (json.RawMessage, error) {
	if len(given) == 0 {
		return nil, nil
	}
	all := map[string]string{}
	for _, a := range given {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--attribute %q: want name=value, as in source=web", a)
		}
		all[name] = value
	}
	return json.Marshal(all)
}

// outgoing is a message to be sent. What is JSON in it stays as it is.
type outgoing struct {
	body, attributes json.RawMessage
	labels           []string
	delay            time.Duration
}

func (m *outgoing) element() ([]byte, error) {
	b := append([]byte(`{"body":`), m.body...)
	if len(m.attributes) > 0 {
		b = append(append(b, `,"attributes":`...), m.attributes...)
	}
	if len(m.labels) > 0 {
		labels, err := json.Marshal(m.labels)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"tags":`...), labels...)
	}
	if m.delay != 0 {
		b = fmt.Appendf(b, `,"delayTime":%d`, m.delay.Milliseconds())
	}
	return append(b, '}'), nil
}

// bodyOf makes the JSON of a body that somebody typed.
func bodyOf(typed string, text bool) (json.RawMessage, error) {
	if !text && json.Valid([]byte(typed)) && strings.TrimSpace(typed) != "null" {
		return json.RawMessage(typed), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(typed)
	return bytes.TrimSpace(b.Bytes()), err
}

// sending sends messages to a queue in as few calls as there can be.
type sending struct {
	c       *queueClient
	queue   queueView
	out     io.Writer
	pattern outgoing // what all messages have in common
	text    bool
	quiet   bool // no line for each call

	elements []json.RawMessage
	bytes    int
	sent     int
	ids      jsonList // of those sent, with --json
}

// bodies sends what was typed.
func (s *sending) bodies(ctx context.Context, typed []string) error {
	for _, body := range typed {
		if err := s.add(ctx, body); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// file sends the lines of a file.
func (s *sending) file(ctx context.Context, path string, in io.Reader) error {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, bytesAtOnce+1)
	number := 0
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := s.add(ctx, lines.Text()); err != nil {
			return fmt.Errorf("line %d or up to %d before it: %w; %d messages are sent", number, messagesAtOnce, err, s.sent)
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("the line is longer than the %d bytes that a message may have", bytesAtOnce)
	}
	if err != nil {
		err = fmt.Errorf("--file: line %d: %w", number+1, err)
	}
	if last := s.flush(ctx); last != nil {
		err = errors.Join(err, last)
	}
	if err != nil {
		return fmt.Errorf("%w; %d messages are sent", err, s.sent)
	}
	if s.quiet {
		fmt.Fprintf(s.out, "sent %d messages\n", s.sent)
	}
	return nil
}

// add sends a message with the next ones, or now if there is no more room.
func (s *sending) add(ctx context.Context, typed string) error {
	m := s.pattern
	var err error
	if m.body, err = bodyOf(typed, s.text); err != nil {
		return err
	}
	element, err := m.element()
	if err != nil {
		return err
	}
	if len(s.elements) == messagesAtOnce || len(s.elements) > 0 && s.bytes+len(element) > bytesAtOnce {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.elements = append(s.elements, element)
	s.bytes += len(element)
	return nil
}

// flush sends what has been added.
func (s *sending) flush(ctx context.Context) error {
	if len(s.elements) == 0 {
		return nil
	}
	ids, err := s.c.send(ctx, s.queue, s.elements)
	s.sent += len(ids)
	s.elements, s.bytes = s.elements[:0], 0
	switch {
	case s.quiet:
	case s.c.json:
		for _, id := range ids {
			err = errors.Join(err, s.ids.add(id))
		}
	default:
		for _, id := range ids {
			fmt.Fprintf(s.out, "sent %s\n", id)
		}
	}
	return err
}

// send makes one call of it, and answers the ids of those that are stored: the first ones.
func (c *queueClient) send(ctx context.Context, q queueView, elements []json.RawMessage) (ids []string, err error) {
	body := []byte(`{"returnId":true,"messages":[`)
	for i, e := range elements {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e...)
	}
	var answer struct {
		Messages []struct {
			State int     `json:"state"`
			Error *string `json:"error"`
			ID    string  `json:"id"`
		} `json:"messages"`
	}
	if err := c.call(ctx, http.MethodPost, c.path("queues", q.ID, "messages"), json.RawMessage(append(body, "]}"...)), &answer); err != nil {
		return nil, fmt.Errorf("queue %s: %w", q.Name, err)
	}
	for i, m := range answer.Messages {
		if m.State != 0 {
			why := "no reason is given"
			if m.Error != nil {
				why = *m.Error
			}
			return ids, fmt.Errorf("queue %s: message %d of %d is not stored: %s", q.Name, i+1, len(elements), why)
		}
		ids = append(ids, m.ID)
	}
	return ids, nil
}
