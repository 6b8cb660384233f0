package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPagesOfTheAdminListener(t *testing.T) {
	var reason atomic.Pointer[error]
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Add(3)
	s, err := Start(t.Context(), Options{Address: "127.0.0.1:0", Metrics: registry, Ready: func() error {
		if p := reason.Load(); p != nil {
			return *p
		}
		return nil
	}})
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + s.Address() + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, body := get("/healthz")
	require.Equal(t, 200, status)
	require.Equal(t, "ok\n", body)
	status, _ = get("/readyz")
	require.Equal(t, 200, status)
	notReady := errors.New("log directory failed: disk on fire")
	reason.Store(&notReady)
	status, body = get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "disk on fire")
	status, body = get("/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "tidemark_test_total 3")
	status, body = get("/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, status)
	require.Contains(t, body, "goroutine profile")
	status, _ = get("/nothing")
	require.Equal(t, 404, status)
	require.NoError(t, s.Stop(context.Background()))
}

func TestAddressInUseIsAnError(t *testing.T) {
	a, err := Start(t.Context(), Options{Address: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Stop(context.Background())) }()
	_, err = Start(t.Context(), Options{Address: a.Address()})
	require.ErrorContains(t, err, a.Address())
}
