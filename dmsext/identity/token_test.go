package identity

import (
	"context"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

func (w *world) check(token string) error {
	_, _, err := w.verifyToken(context.Background(), token, kindToken)
	return err
}

func TestATokenThatWasAlteredAnywhereIsRefused(t *testing.T) {
	w := populated(t)
	token := w.token(t, "alice", "")
	require.NoError(t, w.check(token))
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	for i := range raw {
		raw[i] ^= 1
		require.ErrorIs(t, w.check(base64.RawURLEncoding.EncodeToString(raw)), errTokenInvalid, "byte %d", i)
		raw[i] ^= 1
	}
	for n := range raw {
		require.ErrorIs(t, w.check(base64.RawURLEncoding.EncodeToString(raw[:n])), errTokenInvalid, "%d bytes", n)
	}
	for _, text := range []string{"", token + "=", token + "A", " " + token, strings.Repeat("A", maxToken+1), "☃"} {
		require.ErrorIs(t, w.check(text), errTokenInvalid, text)
	}
}

func TestATokenOfAnotherClusterIsRefused(t *testing.T) {
	require.ErrorIs(t, populated(t).check(populated(t).token(t, "alice", "")), errTokenInvalid)
}

func TestATokenEnds(t *testing.T) {
	at := func(w *world, token string) *AuthError {
		r := httptest.NewRequest("GET", queues, nil)
		r.Header.Set("X-Auth-Token", token)
		_, refused := w.Authenticate(r, nil)
		return refused
	}
	for name, c := range map[string]struct {
		end  func(*world)
		code int
	}{
		"after 24 hours":    {func(w *world) { w.clock.move(tokenLife) }, CodeTokenExpired},
		"not before":        {func(w *world) { w.clock.move(tokenLife - time.Second) }, 0},
		"with a password":   {func(w *world) { changeAlice(w, UserChange{Password: new("another password")}) }, CodeTokenInvalid},
		"with the project":  {func(w *world) { changeAlice(w, UserChange{Projects: &[]string{"other"}}) }, CodeTokenInvalid},
		"not with projects": {func(w *world) { changeAlice(w, UserChange{Projects: &[]string{"other", "local"}}) }, 0},
		"with the user":     {func(w *world) { _ = w.DeleteUser(context.Background(), "alice") }, CodeTokenInvalid},
		"also with a user of the same name": {func(w *world) {
			_ = w.DeleteUser(context.Background(), "alice")
			_, _ = w.CreateUser(context.Background(), NewUser{Name: "alice", Password: "12345678", Projects: []string{"local"}})
		}, CodeTokenInvalid},
		"with the keys": {func(w *world) { w.broker.put(private.KindSecrets, tokensDocument, "{}") }, CodeTokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := populated(t)
			token := w.token(t, "alice", "")
			require.Nil(t, at(w, token))
			c.end(w)
			refused := at(w, token)
			if c.code == 0 {
				require.Nil(t, refused)
				return
			}
			require.NotNil(t, refused)
			require.Equal(t, c.code, refused.Code)
			require.Equal(t, 401, refused.Status)
		})
	}
}

func changeAlice(w *world, ch UserChange) { _, _ = w.ChangeUser(context.Background(), "alice", ch) }

func TestAnAdministratorsTokenEndsWithAProjectThatIsDeleted(t *testing.T) {
	w, ctx := populated(t), context.Background()
	_, err := w.CreateProject(ctx, NewProject{Name: "new"})
	require.NoError(t, err)
	token := w.token(t, "root", `{"project":{"name":"new"}}`)
	require.NoError(t, w.check(token))
	require.NoError(t, w.DeleteProject(ctx, "new"))
	require.ErrorIs(t, w.check(token), errTokenInvalid)
}

func TestKeysRotateWithoutEndingTokens(t *testing.T) {
	w := populated(t)
	generation := func(token string) uint32 {
		_, id, _, _, err := parseClaim(token)
		require.NoError(t, err)
		return id
	}
	first := w.token(t, "alice", "")
	require.EqualValues(t, 1, generation(first))
	w.clock.move(keyLife - time.Hour)
	late := w.token(t, "alice", "")
	require.EqualValues(t, 1, generation(late))
	w.clock.move(time.Hour)
	require.EqualValues(t, 1, generation(w.token(t, "alice", "")), "the new one may not be known to every broker yet")
	w.clock.move(keyGrace)
	require.EqualValues(t, 2, generation(w.another().mustToken(t)))
	require.NoError(t, w.check(late))
	w.clock.move(keyLife)
	w.token(t, "alice", "")
	w.clock.move(keyGrace)
	require.EqualValues(t, 3, generation(w.token(t, "alice", "")))
	require.ErrorIs(t, w.check(first), errTokenInvalid, "its key is gone")
	k, err := w.keys(t.Context())
	require.NoError(t, err)
	require.Len(t, k.Generations, 2)
}

// mustToken logs alice in.
func (s *Service) mustToken(t *testing.T) string {
	t.Helper()
	return (&world{Service: s}).token(t, "alice", "")
}

func TestRevocationsAreBounded(t *testing.T) {
	w, ctx := populated(t), context.Background()
	kept := w.token(t, "alice", "")
	for range maxRevocations {
		c, _, err := w.verifyToken(ctx, w.token(t, "alice", ""), kindToken)
		require.NoError(t, err)
		require.NoError(t, w.revoke(ctx, c))
		require.NoError(t, w.revoke(ctx, c), "again")
	}
	require.NoError(t, w.check(kept))
	c, _, err := w.verifyToken(ctx, w.token(t, "alice", ""), kindToken)
	require.NoError(t, err)
	require.NoError(t, w.revoke(ctx, c))
	require.ErrorIs(t, w.check(kept), errTokenInvalid, "one too many ends all")
	u, err := w.user(ctx, "alice")
	require.NoError(t, err)
	require.Empty(t, u.Value.Revoked)

	c, _, err = w.verifyToken(ctx, w.token(t, "alice", ""), kindToken)
	require.NoError(t, err)
	require.NoError(t, w.revoke(ctx, c))
	w.clock.move(tokenLife)
	c, _, err = w.verifyToken(ctx, w.token(t, "alice", ""), kindToken)
	require.NoError(t, err)
	require.NoError(t, w.revoke(ctx, c))
	u, err = w.user(ctx, "alice")
	require.NoError(t, err)
	require.Len(t, u.Value.Revoked, 1, "what has ended by itself is forgotten")
}

func FuzzToken(f *testing.F) {
	w := populated(f)
	u, err := w.user(context.Background(), "alice")
	require.NoError(f, err)
	c, err := w.newClaim(u.Value, byPassword)
	require.NoError(f, err)
	g, err := w.issuing(context.Background())
	require.NoError(f, err)
	good, err := c.seal(g)
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, text string) {
		err := w.check(text)
		if text == good {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, errTokenInvalid)
	})
}
