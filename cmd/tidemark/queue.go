package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// openProject is the project of a broker without users when none is named.
const openProject = "local"

func queueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Create, list, show, fill, read, watch and delete message queues",
		Long: "Create, list, show, fill, read, watch and delete message queues. Queues, groups and projects are named by name or id.\n" +
			"Without --project it is the project of the login, or of a broker without users the one called " + openProject + "."}
	c := &queueClient{httpClient: httpFlags(cmd)}
	f := cmd.PersistentFlags()
	f.StringVar(&c.wanted, "project", "", "the `project` of the queues, by name or id (or "+envProject+")")
	cmd.AddCommand(queueCreate(c), queueList(c), queueShow(c), queueDelete(c), queuePurge(c), queueGroup(c),
		queueSend(c), queueReceive(c), queueAck(c), queueDeadLetters(c), queueLeases(c))
	return cmd
}

// queueClient calls the queue service for one project.
type queueClient struct {
	*httpClient
	wanted string // the project, by name or id, as it was asked for
	id     string // the project's
}

// over makes what a command does from what it does in the project.
func (c *queueClient) over(run func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.wanted = cmp.Or(c.wanted, c.getenv(envProject))
		c.scope = c.wanted
		given := c.token != "" || c.getenv(envToken) != ""
		if err := c.connect(cmd.Context(), cmd.InOrStdin()); err != nil {
			return err
		}
		if err := c.findProject(cmd.Context(), given); err != nil {
			return err
		}
		return run(cmd.Context(), cmd, args)
	}
}

// findProject settles which project it is; given tells that the token came from outside.
func (c *queueClient) findProject(ctx context.Context, given bool) (err error) {
	switch {
	case c.token == "":
		c.id, err = c.openID(ctx, cmp.Or(c.wanted, openProject))
		return err
	case given && c.wanted != "": // the token may be for another one
		err = c.takeToken(ctx, fields{"methods": []string{"token"}, "token": fields{"id": c.token}})
	case given:
		var text []byte
		if _, text, err = c.do(ctx, http.MethodGet, "/v3/auth/tokens?nocatalog", nil, "X-Subject-Token", c.token); err == nil {
			var said tokenView
			err = json.Unmarshal(text, &said)
			c.project = said.Token.Project.ID
		}
	}
	if err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	if c.id = c.project; c.id == "" {
		return fmt.Errorf("the login is for no project: name one with --project; `tidemark user set NAME --project PROJECT` gives a user one")
	}
	return nil
}

// openID is the id of a project of a broker without users: of one that was created, or else what it is called itself.
func (c *queueClient) openID(ctx context.Context, name string) (string, error) {
	var answer struct {
		Projects []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"projects"`
	}
	if err := c.call(ctx, http.MethodGet, "/v3/projects", nil, &answer); err != nil {
		return "", err
	}
	for _, p := range answer.Projects {
		if p.ID == name || p.Name == name {
			return p.ID, nil
		}
	}
	return name, nil
}

// path is that of a call below the project.
func (c *queueClient) path(parts ...string) string {
	p := "/v1.0/" + url.PathEscape(c.id)
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// queueView is a queue as the service shows it.
type queueView struct {
	ID              string  `json:"id"`
	Name            string  `json:"name"`
	Description     *string `json:"description"`
	Mode            string  `json:"queue_mode"`
	Reservation     int64   `json:"reservation"` // minutes
	Created         int64   `json:"created"`     // ms
	Messages        int64   `json:"produced_messages"`
	Redrive         string  `json:"redrive_policy"`
	MaxConsumeCount int     `json:"max_consume_count"`
	Groups          int     `json:"group_count"`
	Topic           string  `json:"topic"`
	Partitions      int     `json:"partitions"`
	RetryBackoff    string  `json:"retry_backoff_ms"`
}

// queues lists the project's queues.
func (c *queueClient) queues(ctx context.Context) (list []queueView, raw json.RawMessage, err error) {
	if err = c.call(ctx, http.MethodGet, c.path("queues"), nil, &raw); err != nil {
		return nil, nil, err
	}
	var answer struct {
		Queues []queueView `json:"queues"`
	}
	err = json.Unmarshal(raw, &answer)
	return answer.Queues, raw, err
}

// queue finds a queue by name or id.
func (c *queueClient) queue(ctx context.Context, name string) (queueView, error) {
	list, _, err := c.queues(ctx)
	if err != nil {
		return queueView{}, fmt.Errorf("queue %s: %w", name, err)
	}
	for _, q := range list {
		if q.Name == name || q.ID == name {
			return q, nil
		}
	}
	return queueView{}, fmt.Errorf("there is no queue %s in project %s; `tidemark queue list` shows those there are, `tidemark queue create` makes one", name, c.id)
}

// groupView is a group as the service shows it.
type groupView struct {
	ID                   string `json:"id"`
	Name                 string `json:"name"`
	Produced             int64  `json:"produced_messages"`
	Consumed             int64  `json:"consumed_messages"`
	Available            int64  `json:"available_messages"`
	InFlight             int64  `json:"in_flight_messages"`
	Filtered             int64  `json:"filtered_messages"`
	Skipped              int64  `json:"skipped_messages"`
	ProducedDeadLetters  int64  `json:"produced_deadletters"`
	AvailableDeadLetters int64  `json:"available_deadletters"`
}

// groups lists the groups of a queue, by its id.
func (c *queueClient) groups(ctx context.Context, queue string, counts bool) (list []groupView, raw json.RawMessage, err error) {
	path := c.path("queues", queue, "groups") + "?include_deadletter=true&include_messages_num=" + fmt.Sprint(counts)
	if err = c.call(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return nil, nil, err
	}
	var answer struct {
		Groups []groupView `json:"groups"`
	}
	err = json.Unmarshal(raw, &answer)
	return answer.Groups, raw, err
}

// group finds a queue and one of its groups, both by name or id.
func (c *queueClient) group(ctx context.Context, queue, group string) (q queueView, g groupView, err error) {
	if q, err = c.queue(ctx, queue); err != nil {
		return q, g, err
	}
	list, _, err := c.groups(ctx, q.ID, false)
	if err != nil {
		return q, g, fmt.Errorf("groups of queue %s: %w", q.Name, err)
	}
	for _, g = range list {
		if g.Name == group || g.ID == group {
			return q, g, nil
		}
	}
	return q, g, fmt.Errorf("queue %s has no group %s; `tidemark queue group list %s` shows those it has, `tidemark queue group create %s %s` makes it",
		q.Name, group, q.Name, q.Name, group)
}

// wantArgs refuses a command without the things that it names.
func wantArgs(names string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return fmt.Errorf("name %s, as in `%s %s`", names, cmd.Root().Name(), strings.TrimPrefix(cmd.UseLine(), cmd.Root().Name()+" "))
		}
		return nil
	}
}
