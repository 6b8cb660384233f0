// Command tidemark is the broker and its tools: `tidemark serve` runs a broker, the
// other subcommands talk to one over the wire or read its files.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

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
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, c.CommandPath())
	})
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.AddCommand(serveCommand(), topicCommand(), queueCommand(), projectCommand(), userCommand(), accessKeyCommand(), dumpCommand(), benchCommand(), versionCommand())
	return cmd
}

// atLeastOne refuses a command without arguments, and says what is to be named.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name at least one %s, as in `%s %s`", what, cmd.Root().Name(), strings.TrimPrefix(cmd.UseLine(), cmd.Root().Name()+" "))
		}
		return nil
	}
}
