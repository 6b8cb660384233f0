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

func queueAck(c *queueClient) *cobra.Command {
	var fail, deadLetters bool
	cmd := &cobra.Command{Use: "ack QUEUE GROUP HANDLE...", Short: "Acknowledge messages that were received, in the order in which they came", Args: wantArgs("a queue, a group and at least one handle", 3, -1)}
	cmd.Flags().BoolVar(&fail, "fail", false, "say that they failed: they come again, with all that came after them in the same call, or become dead letters")
	cmd.Flags().BoolVar(&deadLetters, "deadletters", false, "they are dead letters of the group")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q, g, err := c.group(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		handles := args[2:]
		done, err := c.acknowledge(ctx, q, g, deadLetters, handles, !fail)
		switch {
		case err != nil:
			return fmt.Errorf("queue %s, group %s: nothing is changed: %w", q.Name, g.Name, err)
		case c.json:
			if err := c.print(cmd.OutOrStdout(), fields{"success": done, "fail": len(handles) - done}); err != nil {
				return err
			}
		case fail:
			fmt.Fprintf(cmd.OutOrStdout(), "failed %d\n", len(handles)-done)
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "acknowledged %d\n", done)
		}
		if !fail && done < len(handles) {
			return fmt.Errorf("%d of %d are not acknowledged: a message that came before them in the same call has to be acknowledged first", len(handles)-done, len(handles))
		}
		return nil
	})
	return cmd
}

// acknowledge says what became of messages, and answers how many of them are done.
func (c *queueClient) acknowledge(ctx context.Context, q queueView, g groupView, deadLetters bool, handles []string, success bool) (int, error) {
	type ack struct {
		Handle string `json:"handler"`
		Status string `json:"status"`
	}
	status := "success"
	if !success {
		status = "fail"
	}
	var body struct {
		Message []ack `json:"message"`
	}
	for _, h := range handles {
		body.Message = append(body.Message, ack{h, status})
	}
	path := c.path("queues", q.ID, "groups", g.ID, "ack")
	if deadLetters {
		path = c.path("queues", q.ID, "groups", g.ID, "deadletters", "ack")
	}
	var answer struct {
		Success int `json:"success"`
	}
	err := c.call(ctx, http.MethodPost, path, body, &answer)
	return answer.Success, err
}

// settlement is one way to end a lease by force.
type settlement struct {
	action, flag, usage, said string
	places                    []string
}

func queueLeases(c *queueClient) *cobra.Command {
	var deadLetters bool
	limit := 0
	ways := []*settlement{
		{action: "release", flag: "release", said: "released", usage: "give back the message at `partition:offset` without counting a failure, repeated"},
		{action: "accept", flag: "accept", said: "accepted", usage: "take the message at `partition:offset` as done, repeated"},
		{action: "discard", flag: "discard", said: "discarded", usage: "drop the message at `partition:offset`, repeated"},
		{action: "dead-letter", flag: "dead-letter", said: "made a dead letter of", usage: "make a dead letter of the message at `partition:offset`, repeated"},
	}
	cmd := &cobra.Command{Use: "leases QUEUE GROUP", Short: "Show who holds what of a group, until when, and end leases by force", Args: wantArgs("a queue and a group", 2, 2)}
	cmd.Flags().IntVar(&limit, "limit", 100, "show at most so many, 1-1000")
	cmd.Flags().BoolVar(&deadLetters, "deadletters", false, "of the group's dead letters")
	for _, w := range ways {
		cmd.Flags().StringArrayVar(&w.places, w.flag, nil, w.usage)
	}
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q, g, err := c.group(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		settled := false
		r := c.report(cmd.OutOrStdout(), "settled")
		for _, w := range ways {
			for _, place := range w.places {
				settled = true
				partition, offset, err := placeOf(place)
				if err == nil {
					err = c.settle(ctx, q, g, partition, offset, w.action, deadLetters)
				}
				if err != nil {
					r.missed(fields{"action": w.action, "place": place}, fmt.Errorf("--%s %s: %w", w.flag, place, err))
					continue
				}
				r.did(fields{"action": w.action, "partition": partition, "offset": offset}, "%s %s", w.said, place)
			}
		}
		if settled {
			return r.end()
		}
		return c.leases(ctx, cmd.OutOrStdout(), q, g, deadLetters, limit)
	})
	return cmd
}

// placeOf reads where a message is: partition:offset.
func placeOf(place string) (partition, offset uint64, err error) {
	p, o, _ := strings.Cut(place, ":")
	partition, err = strconv.ParseUint(p, 10, 31)
	offset, oErr := strconv.ParseUint(o, 10, 63)
	if err != nil || oErr != nil {
		return 0, 0, errors.New("want partition:offset as `tidemark queue leases` shows them, 0:17 for instance")
	}
	return partition, offset, nil
}

// settle ends the lease of the message at a place.
func (c *queueClient) settle(ctx context.Context, q queueView, g groupView, partition, offset uint64, action string, deadLetters bool) error {
	body := fields{"partition": partition, "offset": offset, "action": action, "deadletters": deadLetters}
	err := c.call(ctx, http.MethodPost, c.path("queues", q.ID, "groups", g.ID, "leases", "settle"), body, nil)
	if isRefusal(err, "DMS.10542209") {
		return errors.New("nobody holds it; `tidemark queue leases` shows what is held")
	}
	return err
}

// leases prints who holds what.
func (c *queueClient) leases(ctx context.Context, out io.Writer, q queueView, g groupView, deadLetters bool, limit int) error {
	var raw json.RawMessage
	path := fmt.Sprintf("%s?limit=%d&deadletters=%v", c.path("queues", q.ID, "groups", g.ID, "leases"), limit, deadLetters)
	if err := c.call(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return fmt.Errorf("queue %s, group %s: %w", q.Name, g.Name, err)
	}
	if c.json {
		return c.print(out, raw)
	}
	var answer struct {
		Leases []struct {
			Partition  int     `json:"partition"`
			First      int64   `json:"first_offset"`
			Last       int64   `json:"last_offset"`
			State      string  `json:"state"`
			Holder     *string `json:"holder"`
			Until      *int64  `json:"until"`
			Deliveries int     `json:"deliveries"`
			Failures   int     `json:"failures"`
		} `json:"leases"`
		More bool `json:"more"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PLACE\tSTATE\tHOLDER\tUNTIL\tDELIVERY\tFAILURES")
	for _, l := range answer.Leases {
		place := fmt.Sprintf("%d:%d", l.Partition, l.First)
		if l.Last > l.First {
			place += fmt.Sprintf("-%d", l.Last)
		}
		holder, until := "-", "-"
		if l.Holder != nil {
			holder = *l.Holder
		}
		if l.Until != nil {
			at := time.UnixMilli(*l.Until)
			until = fmt.Sprintf("%s (%s)", at.Format(time.TimeOnly), time.Until(at).Round(time.Second))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", place, l.State, holder, until, l.Deliveries, l.Failures)
	}
	if answer.More {
		fmt.Fprintf(w, "more than %d; --limit shows up to 1000\n", limit)
	}
	return w.Flush()
}
