package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// bootstrapFlag declares --bootstrap-server, as Kafka's own tools call it.
func bootstrapFlag(cmd *cobra.Command, into *[]string) {
	cmd.PersistentFlags().StringSliceVarP(into, "bootstrap-server", "b", []string{"127.0.0.1:9092"}, "`host:port` of one or more brokers")
}

// dial makes a client and proves that a broker answers, so that a wrong address is an
// error within seconds and not a silent retry.
func dial(ctx context.Context, seeds []string, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.ClientID("tidemark-cli")}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("no broker answers at %v: %w; is it running, and is --bootstrap-server right?", seeds, err)
	}
	return cl, nil
}
