package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func queueCreate(c *queueClient) *cobra.Command {
	var mode, description, backoff string
	var consumes, hours, partitions int
	var groups []string
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a queue, with groups if they are named", Args: exactlyOne("queue")}
	f := cmd.Flags()
	f.StringVar(&mode, "mode", "normal", "`mode`: normal, fifo, kafka-ha or kafka-ht")
	f.StringVar(&description, "description", "", "a `text` of at most 160 characters")
	f.IntVar(&consumes, "max-consume-count", 0, "after so many failed deliveries, 1-100, a message is a dead letter (default: it comes again for ever)")
	f.IntVar(&hours, "retention-hours", 0, "1-72, Kafka queues only (default 72)")
	f.IntVar(&partitions, "partitions", 0, "1-200, not for FIFO queues (default: the broker's --queue-partitions, 3 for Kafka queues)")
	f.StringVar(&backoff, "retry-backoff", "", "how long a failed message waits before it comes again, as 500ms, or `first,factor,most` as 500ms,2,1m (default: not at all)")
	f.StringArrayVar(&groups, "group", nil, "a consumer `group` to create with it, repeated")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		body := fields{"name": args[0], "queue_mode": strings.ToUpper(strings.ReplaceAll(mode, "-", "_"))}
		set := func(flag, field string, value any) {
			if f.Changed(flag) {
				body[field] = value
			}
		}
		set("description", "description", description)
		set("max-consume-count", "max_consume_count", consumes)
		set("max-consume-count", "redrive_policy", "enable")
		set("retention-hours", "retention_hours", hours)
		set("partitions", "partitions", partitions)
		pause, err := backoffMillis(backoff)
		if err != nil {
			return fmt.Errorf("--retry-backoff %s: %w", backoff, err)
		}
		set("retry-backoff", "retry_backoff_ms", pause)
		return c.create(ctx, cmd.OutOrStdout(), body, groups)
	})
	return cmd
}

// backoffMillis turns a back-off as people write it into milliseconds: first[,factor[,most]].
func backoffMillis(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		d, err := time.ParseDuration(strings.TrimSpace(part))
		switch {
		case i == 1:
			continue
		case err != nil || d < 0 || i > 2:
			return "", errors.New("want a time as 500ms, or the first time, a factor and the longest as 500ms,2,1m")
		}
		parts[i] = strconv.FormatInt(d.Milliseconds(), 10)
	}
	return strings.Join(parts, ","), nil
}

func (c *queueClient) create(ctx context.Context, out io.Writer, body fields, groups []string) error {
	name := body["name"]
	var made queueView
	if err := c.call(ctx, http.MethodPost, c.path("queues"), body, &made); err != nil {
		return fmt.Errorf("queue %s: %w", name, err)
	}
	answer := struct {
		ID     string      `json:"id"`
		Name   string      `json:"name"`
		Topic  string      `json:"topic"`
		Groups []groupName `json:"groups"`
	}{ID: made.ID, Name: made.Name, Groups: []groupName{}}
	if len(groups) > 0 {
		groupsMade, err := c.createGroups(ctx, made.ID, groups)
		if err != nil {
			err = fmt.Errorf("queue %s is created, id %s, but not its groups: %w", name, made.ID, err)
			if c.json {
				err = errors.Join(err, c.print(out, answer))
			}
			return err
		}
		answer.Groups = groupsMade
	}
	if err := c.call(ctx, http.MethodGet, c.path("queues", made.ID), nil, &made); err != nil {
		return fmt.Errorf("queue %s is created, id %s, but does not answer: %w", name, answer.ID, err)
	}
	if answer.Topic = made.Topic; c.json {
		return c.print(out, answer)
	}
	fmt.Fprintf(out, "created queue %s, mode %s, id %s\n", made.Name, made.Mode, made.ID)
	printGroupNames(out, answer.Groups)
	return nil
}

func queueList(c *queueClient) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List queues, the newest first", Args: cobra.NoArgs}
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		list, raw, err := c.queues(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), raw)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "QUEUE\tMODE\tMESSAGES\tGROUPS\tCREATED\tID")
		for _, q := range list {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", q.Name, q.Mode, q.Messages, q.Groups, time.UnixMilli(q.Created).Format(time.RFC3339), q.ID)
		}
		return w.Flush()
	})
	return cmd
}

func queueShow(c *queueClient) *cobra.Command {
	cmd := &cobra.Command{Use: "show QUEUE...", Short: "Show queues with their settings, groups and numbers", Args: atLeastOne("queue")}
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, names []string) error {
		shown := []fields{}
		for _, name := range names {
			one, err := c.show(ctx, cmd.OutOrStdout(), name)
			if err != nil {
				return err
			}
			shown = append(shown, one)
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), fields{"queues": shown})
		}
		return nil
	})
	return cmd
}

// show writes a queue for people, or answers it for programs.
func (c *queueClient) show(ctx context.Context, out io.Writer, name string) (fields, error) {
	q, err := c.queue(ctx, name)
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	if err = c.call(ctx, http.MethodGet, c.path("queues", q.ID)+"?include_deadletter=true", nil, &raw); err == nil {
		err = json.Unmarshal(raw, &q)
	}
	var groups []groupView
	var rawGroups json.RawMessage
	if err == nil {
		groups, rawGroups, err = c.groups(ctx, q.ID, true)
	}
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", name, err)
	}
	if c.json {
		return fields{"queue": raw, "groups": rawGroups}, nil
	}
	fmt.Fprintf(out, "queue %s, mode %s, id %s\n  messages=%d\n  created=%s\n  retention=%s\n  partitions=%d\n  topic=%s\n", q.Name, q.Mode, q.ID, q.Messages,
		time.UnixMilli(q.Created).Format(time.RFC3339), time.Duration(q.Reservation)*time.Minute, q.Partitions, q.Topic)
	if q.Redrive == "enable" {
		fmt.Fprintf(out, "  max-consume-count=%d\n", q.MaxConsumeCount)
	}
	if q.RetryBackoff != "" {
		fmt.Fprintf(out, "  retry-backoff-ms=%s\n", q.RetryBackoff)
	}
	if q.Description != nil {
		fmt.Fprintf(out, "  description=%s\n", *q.Description)
	}
	return nil, printGroups(out, "  ", groups)
}

func queueDelete(c *queueClient) *cobra.Command {
	cmd := &cobra.Command{Use: "delete QUEUE...", Short: "Delete queues with their groups, messages and dead letters", Args: atLeastOne("queue")}
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, names []string) error {
		r := c.report(cmd.OutOrStdout(), "deleted")
		for _, name := range names {
			q, err := c.queue(ctx, name)
			if err == nil {
				if err = c.call(ctx, http.MethodDelete, c.path("queues", q.ID), nil, nil); err != nil {
					err = fmt.Errorf("queue %s: %w", name, err)
				}
			}
			if err != nil {
				r.missed(fields{"name": name}, err)
				continue
			}
			r.did(fields{"id": q.ID, "name": q.Name}, "deleted %s", q.Name)
		}
		return r.end()
	})
	return cmd
}

func queuePurge(c *queueClient) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "purge QUEUE --yes", Short: "Remove all messages of a queue, the delayed ones too; dead letters stay", Args: wantArgs("one queue", 1, 1)}
	cmd.Flags().BoolVar(&yes, "yes", false, "they can not be brought back, and it is meant")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q, err := c.queue(ctx, args[0])
		if err != nil {
			return err
		}
		if !yes {
			return fmt.Errorf("queue %s has %d messages, and those that are delayed: with --yes they are removed for good", q.Name, q.Messages)
		}
		if err := c.call(ctx, http.MethodPost, c.path("queues", q.ID, "purge"), nil, nil); err != nil {
			return fmt.Errorf("queue %s: %w", q.Name, err)
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), fields{"purged": fields{"id": q.ID, "name": q.Name, "messages": q.Messages}})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "purged %s\n", q.Name)
		return nil
	})
	return cmd
}
