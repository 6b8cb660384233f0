package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker"
	"github.com/tidemark-mq/tidemark/dmsext/identity"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/dmsext/rest"
)

// queueDoor is the HTTP listener of the queue service, in front of a broker.
type queueDoor struct {
	listener net.Listener
	server   *rest.Server
	served   chan error
	cancel   context.CancelFunc
	resumed  chan struct{}
}

// bindQueues takes the HTTP listener's port, before anything is touched; nil where there is to be none.
func bindQueues(ctx context.Context, s *settings) (*queueDoor, error) {
	if s.HTTPListen == "" {
		return nil, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.HTTPListen)
	if err != nil {
		return nil, fmt.Errorf("http-listen %s: %w; choose another port, or none with --http-listen ''", s.HTTPListen, err)
	}
	return &queueDoor{listener: l}, nil
}

// open begins to serve in front of b, which is ready.
func (d *queueDoor) open(ctx context.Context, b *broker.Broker, s *settings, log *zap.Logger) error {
	url := s.HTTPURL
	if url == "" {
		url = "http://" + d.listener.Addr().String()
	}
	log = log.Named("http")
	who := identity.New(identity.Options{Broker: b, PublicURL: url, Region: s.Region, Loopback: onLoopback(d.listener.Addr()), Insecure: s.Insecure, Log: log})
	if err := who.Acceptable(ctx); err != nil {
		return fmt.Errorf("http-listen %s: %w", s.HTTPListen, err)
	}
	queues := queue.New(queue.Options{Broker: b, MaxQueues: s.QueueQuota, MaxGroups: s.GroupQuota, Partitions: int32(s.QueuePartitions), Now: b.Now, Log: log})
	server, err := rest.New(rest.Options{Queues: queues, Identity: who, IdentityHandler: who.Handler(), ServiceURL: s.HTTPURL, Log: log, Metrics: b.Metrics()})
	if err != nil {
		return err
	}
	d.server, d.served, d.resumed = server, make(chan error, 1), make(chan struct{})
	go func() { d.served <- server.Serve(d.listener) }()
	var life context.Context
	life, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(d.resumed)
		if err := queues.Resume(life); err != nil && life.Err() == nil {
			log.Warn("not everything that an earlier life began with queues could be finished; the next start tries again", zap.Error(err))
		}
	}()
	return nil
}

// close ends the requests under way and the listener. It may be called for a door that was never opened.
func (d *queueDoor) close(ctx context.Context) error {
	if d == nil {
		return nil
	}
	if d.server == nil {
		return d.listener.Close()
	}
	d.cancel()
	err := d.server.Stop(ctx)
	<-d.resumed
	return errors.Join(err, <-d.served)
}

// address is where the listener is, for the ready line.
func (d *queueDoor) address() string {
	if d == nil {
		return "off"
	}
	return d.listener.Addr().String()
}

// onLoopback tells whether only this machine reaches an address.
func onLoopback(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().IsLoopback()
}
