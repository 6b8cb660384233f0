package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPasswordHashes(t *testing.T) {
	p, ctx := newPasswords(cheap), context.Background()
	one, err := p.hash(ctx, "correct horse")
	require.NoError(t, err)
	two, err := p.hash(ctx, "correct horse")
	require.NoError(t, err)
	require.NotEqual(t, one, two, "salted")
	for _, hash := range []string{one, two} {
		ok, err := p.matches(ctx, hash, "correct horse")
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = p.matches(ctx, hash, "correct hors")
		require.NoError(t, err)
		require.False(t, ok)
	}
	other, err := newPasswords(cost{passes: 2, kib: 16}).matches(ctx, one, "correct horse")
	require.NoError(t, err)
	require.True(t, other, "a hash says what it cost")
	for _, bad := range []string{"x", "$argon2id$v=19$m=1,t=1,p=1$AA$AA", "$argon2id$v=19$m=999999999,t=1,p=1$AAAA$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=8,t=0,p=1$AAAA$" + strings.Repeat("A", 43), "$argon2i$v=19$m=8,t=1,p=1$AAAA$" + strings.Repeat("A", 43)} {
		_, err := p.matches(ctx, bad, "x")
		require.ErrorIs(t, err, ErrUnavailable, bad)
	}
}

// What a login costs is the hash; a user who is not there must not be told apart by it.
func TestAnUnknownUserTakesAsLongAsAKnownOne(t *testing.T) {
	w := populated(t)
	w.passwords = newPasswords(cheap)
	type hashed struct {
		cost cost
		salt int
	}
	var all []hashed
	w.passwords.derive = func(_, salt []byte, c cost) []byte {
		all = append(all, hashed{c, len(salt)})
		return make([]byte, hashLength) // also the hash of the user who is not there
	}
	for _, l := range []loginUser{
		{Name: "alice", Password: "wrong"},
		{Name: "nobody", Password: "wrong"},
		{Name: "not/a/name", Password: "wrong"},
		{ID: otherProject, Password: "wrong"},
		{Name: "alice", Password: "wrong", Domain: &ref{Name: "acme"}},
		{Name: "alice", Password: strings.Repeat("x", maxPassword+1)},
	} {
		all = nil
		_, err := w.byPassword(context.Background(), l, "192.0.2.1:5")
		require.ErrorIs(t, err, ErrCredentials, "%+v", l)
		require.Equal(t, []hashed{{cheap, saltLength}}, all, "%+v", l)
	}
}

func TestFewHashesAtOnce(t *testing.T) {
	p := newPasswords(cheap)
	started, release := make(chan struct{}), make(chan struct{})
	p.derive = func([]byte, []byte, cost) []byte {
		started <- struct{}{}
		<-release
		return make([]byte, hashLength)
	}
	done := make(chan error, hashesAtOnce)
	for range hashesAtOnce {
		go func() {
			_, err := p.hash(context.Background(), "x")
			done <- err
		}()
		<-started
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := p.hash(ctx, "x")
	require.ErrorIs(t, err, context.Canceled, "one that waits gives up with its request")
	p.waiting.Store(hashesWaiting)
	_, err = p.hash(context.Background(), "x")
	require.ErrorIs(t, err, ErrUnavailable, "no queue without end")
	close(release)
	for range hashesAtOnce {
		require.NoError(t, <-done)
	}
}

func TestGuessingIsSlow(t *testing.T) {
	w := populated(t)
	try := func(user, password, from string) answer {
		r := httptest.NewRequest("POST", "/v3/auth/tokens", strings.NewReader(loginBody(user, password, "")))
		r.RemoteAddr = from
		return w.do(t, r)
	}
	for range int(userAllowance.attempts) {
		require.Equal(t, 401, try("alice", "wrong", "192.0.2.1:1000").Code)
	}
	a := try("alice", "alice's password", "192.0.2.1:1001")
	require.Equal(t, http.StatusTooManyRequests, a.Code)
	require.Equal(t, "6", a.Header().Get("Retry-After"))
	require.Equal(t, 201, try("alice", "alice's password", "192.0.2.2:1").Code, "from elsewhere she gets in")
	require.Equal(t, 201, try("bob", "bob's password", "192.0.2.1:1").Code, "and others from there")
	w.clock.move(userAllowance.each)
	require.Equal(t, 201, try("alice", "alice's password", "192.0.2.1:1002").Code)
	for range 100 {
		require.Equal(t, 201, try("alice", "alice's password", "192.0.2.3:1").Code, "logins that succeed cost nothing")
	}

	refused := 0
	for i := range 100 {
		if try(fmt.Sprintf("user%d", i), "wrong", "[2001:db8::1]:1").Code == http.StatusTooManyRequests {
			refused++
		}
	}
	require.Equal(t, 100-int(networkAllowance.attempts), refused, "a network that tries many users")
	require.Equal(t, http.StatusTooManyRequests, try("userx", "wrong", "[2001:db8::2]:1").Code, "the same network")
	require.Equal(t, 401, try("userx", "wrong", "[2001:db8:0:1::2]:1").Code)
}

func TestABudgetComesBackAndIsNeverMoreThanWhole(t *testing.T) {
	s, now := newSlowdown(), time.Unix(1e9, 0)
	spend := func() (n int) {
		for {
			if wait, _ := s.take("u", "192.0.2.1:1", now); wait > 0 {
				require.LessOrEqual(t, wait, userAllowance.each)
				return n
			}
			n++
		}
	}
	require.Equal(t, int(userAllowance.attempts), spend())
	now = now.Add(3 * userAllowance.each)
	require.Equal(t, 3, spend())
	now = now.Add(1000 * time.Hour)
	require.Equal(t, int(userAllowance.attempts), spend())
	now = now.Add(-time.Hour)
	require.Zero(t, spend(), "a clock that is set back gives nothing")
}
