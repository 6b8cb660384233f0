package call

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostIsShownAsKafkaDoes(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:1000":          "/127.0.0.1",
		"[::ffff:10.0.0.1]:1000":  "/10.0.0.1",
		"[fe80::1%eth0]:1000":     "/fe80::1",
		"[2001:db8::1]:1000":      "/2001:db8::1",
		"255.255.255.255:1":       "/255.255.255.255",
		"[::1]:9092":              "/::1",
		"[0:0:0:0:0:0:0:1]:59999": "/::1",
	} {
		p := Peer{Remote: netip.MustParseAddrPort(address)}
		require.Equal(t, want, p.Host())
	}
	require.Equal(t, "/127.0.0.1", (&Peer{}).Host())
}

func TestSecondAnswerIsReportedAndItsPayloadFreed(t *testing.T) {
	freed := 0
	payload := func() Response { return Response{Payload: &Payload{Release: func() { freed++ }}} }
	repeated := 0
	c := &Call{Context: t.Context()}
	resp, err := Await(c, func(c *Call) { c.Reply(payload()); c.Reply(payload()) }, func(*Call) { repeated++ })
	require.NoError(t, err)
	require.Equal(t, 1, repeated)
	require.Equal(t, 1, freed)
	resp.Free()
	resp.Free()
	require.Equal(t, 2, freed, "a payload is released once")
	require.Panics(t, func() {
		_, _ = Await(&Call{Context: t.Context()}, func(c *Call) { c.Reply(Response{}); c.Reply(Response{}) }, nil)
	})
}
