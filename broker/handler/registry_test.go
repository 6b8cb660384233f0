package handler

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// oneImage is a cluster that never changes.
type oneImage struct {
	Cluster
	image *cluster.Image
}

func (c oneImage) Image() *cluster.Image { return c.image }

const (
	testCluster = "TLpYRcWBS3KSb-wLMGvdGQ"
	testBroker  = 7
)

// newRegistry is a registry on a cluster without topics.
func newRegistry(t *testing.T) *Registry {
	t.Helper()
	r, err := New(Deps{ClusterID: testCluster, BrokerID: testBroker, Cluster: oneImage{image: &cluster.Image{
		ClusterID: testCluster, Revision: 12, Features: FoundingFeatures(),
	}}})
	require.NoError(t, err)
	return r
}

// ask has a request answered by its row, as if it had come through a connection.
func ask(t *testing.T, r *Registry, req kmsg.Request, session *call.Session) call.Response {
	t.Helper()
	c := &call.Call{
		Context: t.Context(), Header: wire.Header{Key: req.Key(), Version: req.GetVersion()}, Request: req,
		Peer: &call.Peer{Principal: call.Anonymous}, Session: session, Received: time.Now(),
	}
	resp, err := call.Await(c, r.API(req.Key()).Handle, nil)
	require.NoError(t, err)
	return resp
}

func TestRowsAreOfKafkasTable(t *testing.T) {
	r := newRegistry(t)
	require.NotEmpty(t, r.APIs())
	for _, a := range r.APIs() {
		k, ok := wire.Lookup(a.Key)
		require.True(t, ok, a.Name)
		require.Equal(t, []any{k.Name, k.Min, k.Max}, []any{a.Name, a.Min, a.Max}, "only a part of what Kafka serves")
		require.Positive(t, a.FrameLimit)
		require.Same(t, r.API(a.Key), &r.rows[indexOf(r, a.Key)])
	}
	require.Nil(t, r.API(-1))
	require.Nil(t, r.API(4711))
}

func indexOf(r *Registry, key int16) int {
	for i := range r.rows {
		if r.rows[i].Key == key {
			return i
		}
	}
	return -1
}

func TestRowsThatContradictKafkasTableAreRefused(t *testing.T) {
	handle := func(*call.Call) {}
	for name, a := range map[string]call.API{
		"unknown key":     {Key: 4711, Handle: handle},
		"version above":   {Key: 3, Min: 0, Max: 99, Handle: handle},
		"version below":   {Key: 1, Min: 0, Max: 12, Handle: handle},
		"nothing handled": {Key: 3},
	} {
		require.Error(t, complete(&a), name)
	}
}

// Requests that name very many things are counted with what answering them takes.
func TestRequestsOfManyNamesAreCounted(t *testing.T) {
	f := newFixture(t)
	for _, key := range []kmsg.Key{kmsg.DescribeGroups, kmsg.ShareGroupDescribe, kmsg.ShareFetch} {
		cost := f.registry.API(key.Int16()).Cost
		require.Zero(t, cost(10_000), key.Name())
		require.Greater(t, cost(1_000_000), int64(10_000_000), key.Name())
	}
}

func TestHandlerThatPanicsCostsItsSenderTheConnection(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	r := &Registry{log: zap.New(core)}
	handle := r.guarded(func(*call.Call) { panic("a bug") })
	c := &call.Call{Context: t.Context(), Header: wire.Header{Key: 3, Version: 9}}
	resp, err := call.Await(c, handle, nil)
	require.NoError(t, err)
	require.Equal(t, call.Response{Close: true}, resp)
	require.Equal(t, 1, logs.FilterField(zap.Int16("key", 3)).Len())

	answered := r.guarded(func(c *call.Call) {
		c.Reply(call.Response{Nothing: true})
		panic("a bug after the answer")
	})
	resp, err = call.Await(&call.Call{Context: t.Context()}, answered, nil)
	require.NoError(t, err)
	require.True(t, resp.Nothing)
}

func TestErrorsBecomeCodes(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	h := &handlers{Deps: Deps{Log: zap.New(core)}}
	require.Zero(t, h.code(nil, "nothing"))
	require.Equal(t, kerr.RequestTimedOut.Code, h.code(context.DeadlineExceeded, "waiting"))
	require.Equal(t, kerr.InvalidConfig.Code, h.code(errors.Join(errors.New("x"), kerr.InvalidConfig), "altering"))
	require.Zero(t, logs.Len(), "known errors are the client's matter")
	require.Equal(t, kerr.UnknownServerError.Code, h.code(errors.New("nobody expects this"), "inquiring"))
	require.Equal(t, 1, logs.FilterField(zap.String("doing", "inquiring")).Len())
}

func TestSaslOnAListenerWithoutAuthentication(t *testing.T) {
	r := newRegistry(t)
	hand := kmsg.NewPtrSASLHandshakeRequest()
	hand.Version, hand.Mechanism = 1, "PLAIN"
	resp := ask(t, r, hand, nil).Message.(*kmsg.SASLHandshakeResponse)
	require.Equal(t, kerr.IllegalSaslState.Code, resp.ErrorCode)
	require.Empty(t, resp.SupportedMechanisms)

	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.Version = 2
	answer := ask(t, r, auth, nil).Message.(*kmsg.SASLAuthenticateResponse)
	require.Equal(t, kerr.IllegalSaslState.Code, answer.ErrorCode)
	require.NotNil(t, answer.ErrorMessage)
}
