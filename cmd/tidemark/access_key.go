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

const adminKeys = "/admin/v1/access-keys"

func accessKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "access-key", Short: "Create, list and delete access keys: what SDKs sign requests with"}
	c := httpFlags(cmd)
	cmd.AddCommand(accessKeyCreate(c), accessKeyList(c),
		&cobra.Command{Use: "delete ACCESS-KEY...", Short: "Delete access keys; what is signed with them is refused from then on", Args: atLeastOne("access key"), RunE: c.over(c.deleteEach("access key", "access", adminKeys+"/"))})
	return cmd
}

func accessKeyCreate(c *httpClient) *cobra.Command {
	var n identity.NewAccessKey
	cmd := &cobra.Command{Use: "create --owner USER", Short: "Create an access key of a user for one project; its secret is shown once", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&n.User, "owner", "", "the `user` it belongs to")
	cmd.Flags().StringVar(&n.Project, "project", "", "the `project` it is for, by name or id (default: the user's first)")
	cmd.Flags().StringVar(&n.Description, "description", "", "a `text` of at most 160 characters")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		if n.User == "" {
			return fmt.Errorf("whose is it to be? Name a user with --owner")
		}
		var k struct {
			identity.AccessKey
			Secret string `json:"secret"`
		}
		if err := c.call(ctx, http.MethodPost, adminKeys, n, &k); err != nil {
			return fmt.Errorf("access key of %s: %w", n.User, err)
		}
		if c.json {
			return c.print(cmd.OutOrStdout(), k)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "created access key %s of %s for project %s\nsecret %s\n", k.Access, k.User, k.Project, k.Secret)
		return nil
	})
	return cmd
}

func accessKeyList(c *httpClient) *cobra.Command {
	owner := ""
	cmd := &cobra.Command{Use: "list", Short: "List access keys", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&owner, "owner", "", "only those of this `user`")
	cmd.RunE = c.over(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		var answer struct {
			Keys []identity.AccessKey `json:"access_keys"`
		}
		if err := c.call(ctx, http.MethodGet, adminKeys+"?user="+url.QueryEscape(owner), nil, &answer); err != nil {
			return err
		}
		if c.json {
			answer.Keys = append([]identity.AccessKey{}, answer.Keys...)
			return c.print(cmd.OutOrStdout(), answer)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ACCESS KEY\tUSER\tPROJECT\tCREATED\tDESCRIPTION")
		for _, k := range answer.Keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Access, k.User, k.Project, k.Created.Format(time.RFC3339), k.Description)
		}
		return w.Flush()
	})
	return cmd
}
