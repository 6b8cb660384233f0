package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func topicCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe and delete topics"}
	var seeds []string
	bootstrapFlag(cmd, &seeds)
	admin := func(run func(context.Context, *kadm.Client, io.Writer, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			cl, err := dial(cmd.Context(), seeds)
			if err != nil {
				return err
			}
			defer cl.Close()
			return run(cmd.Context(), kadm.NewClient(cl), cmd.OutOrStdout(), args)
		}
	}
	cmd.AddCommand(topicCreate(admin),
		&cobra.Command{Use: "list", Short: "List topics with partitions and replicas", Args: cobra.NoArgs, RunE: admin(listTopics)},
		&cobra.Command{Use: "describe NAME...", Short: "Show partitions, leaders, offsets and the settings that differ from the default", Args: atLeastOne("topic"), RunE: admin(describeTopics)},
		&cobra.Command{Use: "delete NAME...", Short: "Delete topics with all their records", Args: atLeastOne("topic"), RunE: admin(deleteTopics)})
	return cmd
}

type adminRun = func(func(context.Context, *kadm.Client, io.Writer, []string) error) func(*cobra.Command, []string) error

func topicCreate(admin adminRun) *cobra.Command {
	var partitions int32
	var replicas int16
	var configs []string
	cmd := &cobra.Command{Use: "create NAME...", Short: "Create topics", Args: atLeastOne("topic")}
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "partitions (-1: the broker's num.partitions)")
	cmd.Flags().Int16VarP(&replicas, "replicas", "r", -1, "copies of each partition (-1: the broker's default.replication.factor)")
	cmd.Flags().StringArrayVarP(&configs, "config", "c", nil, "a topic setting, `name=value`, repeated")
	cmd.RunE = admin(func(ctx context.Context, adm *kadm.Client, out io.Writer, names []string) error {
		set := map[string]*string{}
		for _, c := range configs {
			name, value, ok := strings.Cut(c, "=")
			if !ok {
				return fmt.Errorf("--config %q: want name=value, as in retention.ms=60000", c)
			}
			set[name] = &value
		}
		answers, err := adm.CreateTopics(ctx, partitions, replicas, set, names...)
		if err != nil {
			return err
		}
		var failed []error
		for _, a := range answers.Sorted() {
			if a.Err != nil {
				failed = append(failed, refused(a.Topic, a.Err, a.ErrMessage))
				continue
			}
			fmt.Fprintf(out, "created %s, partitions %d, id %s\n", a.Topic, a.NumPartitions, uuid.ID(a.ID))
		}
		return errors.Join(failed...)
	})
	return cmd
}

// refused says why the broker did not do something to a topic: in its own words where it has any, else in the code's.
func refused(topic string, err error, message string) error {
	var code *kerr.Error
	if message == "" || !errors.As(err, &code) {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return fmt.Errorf("topic %s: %s: %s", topic, code.Message, message)
}

func listTopics(ctx context.Context, adm *kadm.Client, out io.Writer, _ []string) error {
	topics, err := adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITIONS\tREPLICAS\tINTERNAL\tID")
	for _, t := range topics.Sorted() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%s\n", t.Topic, len(t.Partitions), t.Partitions.NumReplicas(), t.IsInternal, uuid.ID(t.ID))
	}
	return w.Flush()
}

func describeTopics(ctx context.Context, adm *kadm.Client, out io.Writer, names []string) error {
	topics, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, names...)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		return err
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return err
	}
	var failed []error
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			failed = append(failed, fmt.Errorf("topic %s: %w", t.Topic, t.Err))
			continue
		}
		fmt.Fprintf(out, "topic %s, id %s\n", t.Topic, uuid.ID(t.ID))
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "  PARTITION\tLEADER\tEPOCH\tREPLICAS\tIN SYNC\tSTART\tEND")
		for _, p := range t.Partitions.Sorted() {
			start, _ := starts.Lookup(t.Topic, p.Partition)
			end, _ := ends.Lookup(t.Topic, p.Partition)
			fmt.Fprintf(w, "  %d\t%d\t%d\t%v\t%v\t%d\t%d\n", p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, start.Offset, end.Offset)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		rc, err := configs.On(t.Topic, nil)
		if err != nil {
			failed = append(failed, fmt.Errorf("topic %s: settings: %w", t.Topic, err))
			continue
		}
		printOwnConfigs(out, rc.Configs)
	}
	return errors.Join(failed...)
}

// printOwnConfigs shows the settings that somebody made, not the defaults.
func printOwnConfigs(out io.Writer, configs []kadm.Config) {
	sort.Slice(configs, func(i, j int) bool { return configs[i].Key < configs[j].Key })
	for _, c := range configs {
		if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			fmt.Fprintf(out, "  %s=%s\n", c.Key, c.MaybeValue())
		}
	}
}

func deleteTopics(ctx context.Context, adm *kadm.Client, out io.Writer, names []string) error {
	answers, err := adm.DeleteTopics(ctx, names...)
	if err != nil {
		return err
	}
	var failed []error
	for _, a := range answers.Sorted() {
		if a.Err != nil {
			failed = append(failed, refused(a.Topic, a.Err, a.ErrMessage))
			continue
		}
		fmt.Fprintf(out, "deleted %s\n", a.Topic)
	}
	return errors.Join(failed...)
}
