package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-mq/tidemark/dmsext/identity"
)

const adminUsers = "/admin/v1/users"

func userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Create, list, show, change and delete users of the queue service"}
	c := httpFlags(cmd)
	cmd.AddCommand(userCreate(c), userPassword(c), userSet(c),
		&cobra.Command{Use: "list", Short: "List users", Args: cobra.NoArgs, RunE: c.over(c.listUsers)},
		&cobra.Command{Use: "show NAME...", Short: "Show users", Args: atLeastOne("user"), RunE: c.over(c.showUsers)},
		&cobra.Command{Use: "delete NAME...", Short: "Delete users with their access keys; their tokens end", Args: atLeastOne("user"), RunE: c.over(c.deleteEach("user", "name", adminUsers+"/"))})
	return cmd
}

// newPassword is where the password comes from that a user is given.
type newPassword struct {
	file   string
	random string // the password, if nobody else knows it yet
}

func (p *newPassword) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "new-password-file", "", "`file` with the new password in its first line, - for standard input (default: "+envNewPassword+", else a random one, which is shown)")
}

// get gives the password.
func (p *newPassword) get(c *httpClient) (password string, err error) {
	switch {
	case p.file == "-" && c.passwordFile == "-":
		return "", fmt.Errorf("--password-file and --new-password-file can not both be standard input")
	case p.file != "":
		if password, err = c.secretLine(p.file); err != nil {
			err = fmt.Errorf("--new-password-file: %w", err)
		}
		return password, err
	case c.getenv(envNewPassword) != "":
		return c.getenv(envNewPassword), nil
	}
	p.random = identity.RandomPassword()
	return p.random, nil
}

// tell says what was done to a user, and a password that nobody else knows.
func (p *newPassword) tell(c *httpClient, out io.Writer, u identity.User, line string) error {
	if c.json {
		return c.print(out, struct {
			identity.User
			Password string `json:"password,omitempty"`
		}{u, p.random})
	}
	fmt.Fprintln(out, line)
	if p.random != "" {
		fmt.Fprintf(out, "password %s\n", p.random)
	}
	return nil
}

func userCreate(c *httpClient) *cobra.Command {
	var n identity.NewUser
	var from newPassword
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a user; the first one is an administrator", Args: exactlyOne("user")}
	from.flag(cmd)
	cmd.Flags().StringArrayVar(&n.Projects, "project", nil, "a `project` it may use, by name or id, repeated; the first is the default of its logins")
	cmd.Flags().StringArrayVar(&n.Roles, "role", nil, "`admin` or member, repeated (default: member)")
	cmd.Flags().StringVar(&n.Domain, "domain", "", "the `name` of its domain (default: "+identity.DefaultDomain+")")
	cmd.Flags().StringVar(&n.Description, "description", "", "a `text` of at most 160 characters")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		n.Name = args[0]
		var err error
		if n.Password, err = from.get(c); err != nil {
			return err
		}
		var u identity.User
		if err := c.call(ctx, http.MethodPost, adminUsers, n, &u); err != nil {
			return fmt.Errorf("user %s: %w", n.Name, err)
		}
		return from.tell(c, cmd.OutOrStdout(), u, fmt.Sprintf("created user %s, id %s, roles %s", u.Name, u.ID, strings.Join(u.Roles, ",")))
	})
	return cmd
}

func userPassword(c *httpClient) *cobra.Command {
	var from newPassword
	cmd := &cobra.Command{Use: "passwd NAME", Short: "Give a user another password; its tokens end", Args: exactlyOne("user")}
	from.flag(cmd)
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		password, err := from.get(c)
		if err != nil {
			return err
		}
		var u identity.User
		if err := c.call(ctx, http.MethodPatch, adminUsers+"/"+url.PathEscape(args[0]), identity.UserChange{Password: &password}, &u); err != nil {
			return fmt.Errorf("user %s: %w", args[0], err)
		}
		return from.tell(c, cmd.OutOrStdout(), u, "changed the password of "+args[0])
	})
	return cmd
}

func userSet(c *httpClient) *cobra.Command {
	var projects, roles []string
	cmd := &cobra.Command{Use: "set NAME", Short: "Say which projects a user may use and which roles it has, all of them; access keys of other projects are deleted", Args: exactlyOne("user")}
	cmd.Flags().StringSliceVar(&projects, "project", nil, "the `projects` it may use, by name or id")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "its `roles`: admin, member")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		var ch identity.UserChange
		if cmd.Flags().Changed("project") {
			ch.Projects = &projects
		}
		if cmd.Flags().Changed("role") {
			ch.Roles = &roles
		}
		if ch == (identity.UserChange{}) {
			return fmt.Errorf("nothing to change: give --project, --role or both")
		}
		var u identity.User
		if err := c.call(ctx, http.MethodPatch, adminUsers+"/"+url.PathEscape(args[0]), ch, &u); err != nil {
			return fmt.Errorf("user %s: %w", args[0], err)
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), u)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "changed user %s, roles %s, projects %s\n", u.Name, strings.Join(u.Roles, ","), strings.Join(u.Projects, ","))
		return nil
	})
	return cmd
}

func (c *httpClient) listUsers(ctx context.Context, cmd *cobra.Command, _ []string) error {
	var answer struct {
		Users []identity.User `json:"users"`
	}
	if err := c.call(ctx, http.MethodGet, adminUsers, nil, &answer); err != nil {
		return err
	}
	if c.json {
		answer.Users = append([]identity.User{}, answer.Users...)
		return c.print(cmd.OutOrStdout(), answer)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tID\tDOMAIN\tROLES\tPROJECTS\tCREATED")
	for _, u := range answer.Users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", u.Name, u.ID, u.Domain, strings.Join(u.Roles, ","), len(u.Projects), u.Created.Format(time.RFC3339))
	}
	return w.Flush()
}

func (c *httpClient) showUsers(ctx context.Context, cmd *cobra.Command, names []string) error {
	shown := []identity.User{}
	for _, name := range names {
		var u identity.User
		if err := c.call(ctx, http.MethodGet, adminUsers+"/"+url.PathEscape(name), nil, &u); err != nil {
			return fmt.Errorf("user %s: %w", name, err)
		}
		if shown = append(shown, u); c.json {
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "user %s, id %s\n  domain=%s\n  roles=%s\n  projects=%s\n  created=%s\n  description=%s\n", u.Name, u.ID, u.Domain,
			strings.Join(u.Roles, ","), strings.Join(u.Projects, ","), u.Created.Format(time.RFC3339), u.Description)
	}
	if c.json {
		return c.print(cmd.OutOrStdout(), fields{"users": shown})
	}
	return nil
}
