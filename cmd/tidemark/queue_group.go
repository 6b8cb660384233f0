package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func queueGroup(c *queueClient) *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "Create, list and delete consumer groups of a queue"}
	create := &cobra.Command{Use: "create QUEUE NAME...", Short: "Create groups, all of them or none", Args: wantArgs("a queue and at least one group", 2, -1)}
	create.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q, err := c.queue(ctx, args[0])
		if err != nil {
			return err
		}
		made, err := c.createGroups(ctx, q.ID, args[1:])
		switch {
		case err != nil:
			return fmt.Errorf("groups of queue %s: %w", q.Name, err)
		case c.json:
			return c.print(cmd.OutOrStdout(), fields{"groups": made})
		}
		printGroupNames(cmd.OutOrStdout(), made)
		return nil
	})
	list := &cobra.Command{Use: "list QUEUE", Short: "List the groups of a queue with their numbers", Args: exactlyOne("queue")}
	list.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		q, err := c.queue(ctx, args[0])
		if err != nil {
			return err
		}
		groups, raw, err := c.groups(ctx, q.ID, true)
		switch {
		case err != nil:
			return fmt.Errorf("groups of queue %s: %w", q.Name, err)
		case c.json:
			return c.print(cmd.OutOrStdout(), raw)
		}
		return printGroups(cmd.OutOrStdout(), "", groups)
	})
	drop := &cobra.Command{Use: "delete QUEUE NAME...", Short: "Delete groups with their positions and dead letters", Args: wantArgs("a queue and at least one group", 2, -1)}
	drop.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		r := c.report(cmd.OutOrStdout(), "deleted")
		for _, name := range args[1:] {
			q, g, err := c.group(ctx, args[0], name)
			if err == nil {
				if err = c.call(ctx, http.MethodDelete, c.path("queues", q.ID, "groups", g.ID), nil, nil); err != nil {
					err = fmt.Errorf("group %s: %w", name, err)
				}
			}
			if err != nil {
				r.missed(fields{"name": name}, err)
				continue
			}
			r.did(fields{"id": g.ID, "name": g.Name}, "deleted group %s", g.Name)
		}
		return r.end()
	})
	cmd.AddCommand(create, list, drop)
	return cmd
}

// groupName is a group that was made.
type groupName struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
}

func (c *queueClient) createGroups(ctx context.Context, queue string, names []string) ([]groupName, error) {
	var body, answer struct {
		Groups []groupName `json:"groups"`
	}
	for _, name := range names {
		body.Groups = append(body.Groups, groupName{Name: name})
	}
	err := c.call(ctx, http.MethodPost, c.path("queues", queue, "groups"), body, &answer)
	return answer.Groups, err
}

func printGroupNames(out io.Writer, groups []groupName) {
	for _, g := range groups {
		fmt.Fprintf(out, "created group %s, id %s\n", g.Name, g.ID)
	}
}

// printGroups writes the table of groups with what each has still to do and has done.
func printGroups(out io.Writer, indent string, groups []groupView) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, indent+"GROUP\tTO DO\tLEASED\tDONE\tFILTERED\tSKIPPED\tDEAD LETTERS\tID")
	for _, g := range groups {
		fmt.Fprintf(w, "%s%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", indent, g.Name, g.Available, g.InFlight, g.Consumed, g.Filtered, g.Skipped, g.AvailableDeadLetters, g.ID)
	}
	return w.Flush()
}
