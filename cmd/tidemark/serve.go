package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/tidemark-mq/tidemark/broker"
)

// collectAt is the garbage collector's percentage unless GOGC says otherwise: the heap is small and mostly buffers
// without pointers, so collecting more often costs little and halves what is resident.
const collectAt = 50

// spareProcessors is how many threads may run Go code beyond the number of cores, unless GOMAXPROCS says otherwise: who comes
// back from a sync has something to answer, and on a few busy cores it would wait for one of them to be free.
const spareProcessors = 1

func tuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
	}
}

// drainLimit is how long SIGTERM gives requests in flight and the orderly stop.
const drainLimit = 10 * time.Second

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: "Run a broker. No argument is needed. Each setting may also stand in the environment (--data-dir as TIDEMARK_DATA_DIR)\n" +
			"or in a YAML file (--config); a flag wins over the environment, the environment over the file.",
		Args: cobra.NoArgs,
	}
	serveFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		began := time.Now()
		s, err := readSettings(cmd.Flags(), osEnviron)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), s, cmd.OutOrStdout(), began)
	}
	return cmd
}

// echo is how soon after the first a further signal is the same wish: timeout(1), and shells that signal a process and its
// group, send two at once.
const echo = 250 * time.Millisecond

// serve runs a broker until a signal or a failure ends it. The first SIGTERM or SIGINT
// drains, or gives up a start that is under way; a second one ends the process at once.
func serve(ctx context.Context, s settings, out io.Writer, began time.Time) error {
	log, level, err := newLogger(s)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	tuneRuntime()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	starting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan os.Signal, 1)
	go func() {
		sig := <-signals
		cancel(fmt.Errorf("stopped by signal %s before the broker was ready", sig))
		stop <- sig
		for first := time.Now(); ; {
			<-signals
			if time.Since(first) > echo {
				break
			}
		}
		fmt.Fprintln(os.Stderr, "tidemark: stopped at once by a second signal")
		os.Exit(1)
	}()
	door, err := bindQueues(starting, &s)
	if err != nil {
		return err
	}
	b, err := broker.Start(starting, s.options(log, level))
	if err != nil {
		_ = door.close(ctx)
	}
	if cause := context.Cause(starting); err != nil && cause != nil {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	if err != nil {
		return err
	}
	if door != nil {
		if err := door.open(starting, b, &s, log); err != nil {
			stopping, done := context.WithTimeout(ctx, drainLimit)
			defer done()
			return errors.Join(err, door.close(stopping), b.Stop(stopping))
		}
	}
	fmt.Fprintf(out, "tidemark ready: %s http %s in %d ms\n", b.Addresses(), door.address(), time.Since(began).Milliseconds())

	var failure error
	select {
	case sig := <-stop:
		log.Info("stopping", zap.String("signal", sig.String()), zap.Duration("limit", drainLimit))
	case <-b.Failed():
		failure = b.Err()
		log.Error("stopping after a failure", zap.Error(failure))
	}
	stopping, done := context.WithTimeout(ctx, drainLimit)
	defer done()
	// Its requests end first: they are answered through the broker.
	return errors.Join(failure, door.close(stopping), b.Stop(stopping))
}

func (s settings) options(log *zap.Logger, level zap.AtomicLevel) broker.Options {
	hostname, _ := os.Hostname() // without one, clients are told localhost
	return broker.Options{Hostname: hostname, DataDir: s.DataDir, Listen: s.Listen, Advertise: s.Advertise, AdminListen: s.AdminListen,
		BrokerID: s.BrokerID, Rack: s.Rack, Etcd: s.Etcd, Settings: s.Set, Insecure: s.Insecure, Log: log, LogLevel: &level}
}

// newLogger writes to standard error: for people on a terminal, JSON otherwise.
func newLogger(s settings) (*zap.Logger, zap.AtomicLevel, error) {
	level, err := zapcore.ParseLevel(s.LogLevel)
	if err != nil {
		return nil, zap.AtomicLevel{}, fmt.Errorf("log-level %q: %w", s.LogLevel, err)
	}
	c := zap.NewProductionConfig()
	console := s.LogFormat == "console" || s.LogFormat == "auto" && term.IsTerminal(int(os.Stderr.Fd()))
	if console {
		c = zap.NewDevelopmentConfig()
		c.Development, c.DisableCaller, c.DisableStacktrace = false, true, true
		c.EncoderConfig.EncodeLevel = zapcore.CapitalColorLevelEncoder
	}
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	c.DisableStacktrace = true
	c.Level = zap.NewAtomicLevelAt(level)
	log, err := c.Build()
	return log, c.Level, err
}
