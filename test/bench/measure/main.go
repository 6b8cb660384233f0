// Command measure starts a broker of its own and measures one thing about it that
// `tidemark bench` cannot see from outside: how fast it starts, what it costs to hold many
// partitions, what one client's load does to another's waits. Every figure is printed as
// one line, "name: value", with the limit it is held against where there is one.
//
//	measure -broker bin/tidemark start       start to ready, to the first acknowledged record; memory at rest
//	measure -broker bin/tidemark partitions  10,000 partitions: restart after a stop and after a kill, CPU, memory, files
//	measure -broker bin/tidemark sync        waits of synchronous producers: alone, many topics, beside bulk, across a checkpoint
//	measure -broker bin/tidemark memory      memory after five million records
//	measure -broker bin/tidemark compact     compaction of 1 GiB: rate and memory
//	measure -broker bin/tidemark -peer HOST:PORT -peer-pid PID versus
//	                                         the same work against another broker, in alternating rounds: ratios
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

var (
	binary     = flag.String("broker", "bin/tidemark", "the broker's binary")
	rounds     = flag.Int("rounds", 5, "rounds; the median is printed")
	partitions = flag.Int("n", 10_000, "partitions in all")
	topics     = flag.Int("topics", 10, "topics they are spread over")
	records    = flag.Int("records", 0, "records in each partition")
	seconds    = flag.Int("seconds", 10, "length of each timed run")
	idle       = flag.Int("idle", 20, "seconds at rest over which CPU is counted")
	settle     = flag.Int("settle", 10, "seconds from ready to the count of CPU at rest")
	parts      = flag.String("only", "", "sync, versus: comma separated parts to run, default all")
	address    = flag.String("address", "", "bulk: the broker's address")
	peer       = flag.String("peer", "", "versus: another broker's address")
	peerPID    = flag.Int("peer-pid", 0, "versus: its process id")
	settings   = flag.String("set", "", "comma separated broker settings, name=value")
)

var works = map[string]func(context.Context) error{
	"start": measureStart, "partitions": measurePartitions, "sync": measureSync, "memory": measureMemory, "compact": measureCompact, "versus": measureVersus,
	"bulk": produceBulk, // the other process of sync
}

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work, ok := works[flag.Arg(0)]
	if !ok || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: measure [flags] start|partitions|sync|memory|compact|versus")
		flag.PrintDefaults()
		os.Exit(2)
	}
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// say prints one figure.
func say(name, format string, args ...any) {
	fmt.Printf("%s: %s\n", name, fmt.Sprintf(format, args...))
}

func wanted(part string) bool {
	if *parts == "" {
		return true
	}
	for p := range strings.SplitSeq(*parts, ",") {
		if p == part {
			return true
		}
	}
	return false
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
