// Command tidemark is the broker and its tools: `tidemark serve` runs a broker, the
// other subcommands talk to one over the wire or read its files.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := root().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "tidemark: %v\n", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "tidemark",
		Short:         "A Kafka-wire-compatible broker with message queues built in",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, c.CommandPath())
	})
	cmd.AddCommand(serveCommand(), topicCommand(), dumpCommand(), benchCommand())
	return cmd
}
