package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-mq/tidemark/dmsext/identity"
)

const adminProjects = "/admin/v1/projects"

func projectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "project", Short: "Create, list, show and delete projects: name spaces of queues"}
	c := httpFlags(cmd)
	cmd.AddCommand(projectCreate(c),
		&cobra.Command{Use: "list", Short: "List projects", Args: cobra.NoArgs, RunE: c.over(c.listProjects)},
		&cobra.Command{Use: "show NAME...", Short: "Show projects, by name or id", Args: atLeastOne("project"), RunE: c.over(c.showProjects)},
		&cobra.Command{Use: "delete NAME...", Short: "Delete projects that have no queues, users and access keys, by name or id", Args: atLeastOne("project"), RunE: c.over(c.deleteEach("project", "name", adminProjects+"/"))})
	return cmd
}

func projectCreate(c *httpClient) *cobra.Command {
	var n identity.NewProject
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a project", Args: exactlyOne("project")}
	cmd.Flags().StringVar(&n.ID, "id", "", "its `id`, 32 lower-case hexadecimal digits (default: a random one)")
	cmd.Flags().StringVar(&n.Domain, "domain", "", "the `name` of its domain (default: "+identity.DefaultDomain+")")
	cmd.Flags().StringVar(&n.Description, "description", "", "a `text` of at most 160 characters")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		n.Name = args[0]
		var p identity.Project
		if err := c.call(ctx, http.MethodPost, adminProjects, n, &p); err != nil {
			return fmt.Errorf("project %s: %w", n.Name, err)
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), p)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "created project %s, id %s\n", p.Name, p.ID)
		return nil
	})
	return cmd
}

// exactlyOne refuses a command that does not name one thing.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("name one %s, as in `%s`", what, cmd.UseLine())
		}
		return nil
	}
}

func (c *httpClient) listProjects(ctx context.Context, cmd *cobra.Command, _ []string) error {
	var answer struct {
		Projects []identity.Project `json:"projects"`
	}
	if err := c.call(ctx, http.MethodGet, adminProjects, nil, &answer); err != nil {
		return err
	}
	if c.json {
		answer.Projects = append([]identity.Project{}, answer.Projects...)
		return c.print(cmd.OutOrStdout(), answer)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PROJECT\tID\tDOMAIN\tCREATED\tDESCRIPTION")
	for _, p := range answer.Projects {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.ID, p.Domain, p.Created.Format(time.RFC3339), p.Description)
	}
	return w.Flush()
}

func (c *httpClient) showProjects(ctx context.Context, cmd *cobra.Command, names []string) error {
	shown := []identity.Project{}
	for _, name := range names {
		var p identity.Project
		if err := c.call(ctx, http.MethodGet, adminProjects+"/"+url.PathEscape(name), nil, &p); err != nil {
			return fmt.Errorf("project %s: %w", name, err)
		}
		if shown = append(shown, p); c.json {
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "project %s, id %s\n  domain=%s\n  created=%s\n  description=%s\n", p.Name, p.ID, p.Domain, p.Created.Format(time.RFC3339), p.Description)
	}
	if c.json {
		return c.print(cmd.OutOrStdout(), fields{"projects": shown})
	}
	return nil
}
