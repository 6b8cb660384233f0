package identity

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

func TestProjectsAreMadeFoundAndDeleted(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	p, err := w.CreateProject(ctx, NewProject{Name: "eu-de_one", Description: "first"})
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{32}$`, p.ID)
	require.Equal(t, DefaultDomain, p.Domain)
	_, err = w.CreateProject(ctx, NewProject{Name: "a", ID: testProject})
	require.NoError(t, err)

	for _, key := range []string{p.ID, p.Name} {
		found, err := w.Project(ctx, key)
		require.NoError(t, err)
		require.Equal(t, p, found)
	}
	list, err := w.Projects(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "a", list[0].Name)

	require.NoError(t, w.DeleteProject(ctx, "a"))
	_, err = w.Project(ctx, testProject)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, w.DeleteProject(ctx, "a"), ErrNotFound)
	r, _, err := w.registry(ctx)
	require.NoError(t, err)
	require.Equal(t, registry{Projects: 1}, r)
}

func TestWhatIsRefusedOfANewProject(t *testing.T) {
	for name, c := range map[string]struct {
		n    NewProject
		want error
	}{
		"no name":          {NewProject{}, ErrInvalid},
		"name with slash":  {NewProject{Name: "a/b"}, ErrInvalid},
		"long name":        {NewProject{Name: strings.Repeat("a", 65)}, ErrInvalid},
		"upper case id":    {NewProject{Name: "x", ID: strings.ToUpper(testProject)}, ErrInvalid},
		"short id":         {NewProject{Name: "x", ID: "abc"}, ErrInvalid},
		"name taken":       {NewProject{Name: "local"}, ErrExists},
		"id taken":         {NewProject{Name: "x", ID: testProject}, ErrExists},
		"long description": {NewProject{Name: "x", Description: strings.Repeat("é", 161)}, ErrInvalid},
		"control letter":   {NewProject{Name: "x", Description: "a\x1bb"}, ErrInvalid},
	} {
		_, err := populated(t).CreateProject(context.Background(), c.n)
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestAProjectInUseStays(t *testing.T) {
	w, ctx := populated(t), context.Background()
	require.ErrorIs(t, w.DeleteProject(ctx, "local"), ErrInUse, "alice has it")
	_, err := w.ChangeUser(ctx, "alice", UserChange{Projects: &[]string{}})
	require.NoError(t, err)
	_, err = w.AccessKey(ctx, testAccess)
	require.ErrorIs(t, err, ErrNotFound, "her access key went with the project")
	w.broker.put(private.KindQueues, testProject+"/q", "{}")
	require.ErrorIs(t, w.DeleteProject(ctx, "local"), ErrInUse, "it has a queue")
}

func TestADeletionSeesAGrantAtTheSameTime(t *testing.T) {
	w, ctx := populated(t), context.Background()
	_, err := w.CreateProject(ctx, NewProject{Name: "new"})
	require.NoError(t, err)
	w.broker.between = func() {
		_, err := w.another().ChangeUser(ctx, "bob", UserChange{Projects: &[]string{"new"}})
		require.NoError(t, err)
	}
	require.ErrorIs(t, w.DeleteProject(ctx, "new"), ErrInUse)
	require.NoError(t, w.DeleteUser(ctx, "bob"))
	w.broker.between = func() {
		_, _, err := w.another().CreateAccessKey(ctx, NewAccessKey{User: "root", Project: "new"})
		require.NoError(t, err)
	}
	require.ErrorIs(t, w.DeleteProject(ctx, "new"), ErrInUse)
}

func TestTheFirstUserIsAnAdministrator(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	u, err := w.CreateUser(ctx, NewUser{Name: "first", Password: "12345678"})
	require.NoError(t, err)
	require.Equal(t, []string{roleAdmin}, u.Roles)
	_, err = w.CreateUser(ctx, NewUser{Name: "second", Password: "12345678", OnlyFirst: true})
	require.ErrorIs(t, err, ErrDenied)
	u, err = w.CreateUser(ctx, NewUser{Name: "second", Password: "12345678"})
	require.NoError(t, err)
	require.Equal(t, []string{roleMember}, u.Roles)

	require.ErrorIs(t, w.DeleteUser(ctx, "first"), ErrInUse, "the only administrator")
	_, err = w.ChangeUser(ctx, "first", UserChange{Roles: &[]string{roleMember}})
	require.ErrorIs(t, err, ErrInUse)
	_, err = w.ChangeUser(ctx, "second", UserChange{Roles: &[]string{roleMember, roleAdmin}})
	require.NoError(t, err)
	require.NoError(t, w.DeleteUser(ctx, "first"))
	require.NoError(t, w.DeleteUser(ctx, "second"), "the last user of all")
}

func TestOfTwoFirstUsersOneComesIn(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.broker.between = func() {
		_, err := w.another().CreateUser(ctx, NewUser{Name: "fast", Password: "12345678", OnlyFirst: true})
		require.NoError(t, err)
	}
	_, err := w.CreateUser(ctx, NewUser{Name: "slow", Password: "12345678", OnlyFirst: true})
	require.ErrorIs(t, err, ErrDenied)
}

func TestWhatIsRefusedOfANewUser(t *testing.T) {
	for name, c := range map[string]struct {
		n    NewUser
		want error
	}{
		"name":            {NewUser{Name: "a b", Password: "12345678"}, ErrInvalid},
		"short password":  {NewUser{Name: "x", Password: "1234567"}, ErrInvalid},
		"long password":   {NewUser{Name: "x", Password: strings.Repeat("1", 513)}, ErrInvalid},
		"not UTF-8":       {NewUser{Name: "x", Password: "12345678\xff"}, ErrInvalid},
		"role":            {NewUser{Name: "x", Password: "12345678", Roles: []string{"king"}}, ErrInvalid},
		"unknown project": {NewUser{Name: "x", Password: "12345678", Projects: []string{"nowhere"}}, ErrNotFound},
		"taken":           {NewUser{Name: "alice", Password: "12345678"}, ErrExists},
		"many projects":   {NewUser{Name: "x", Password: "12345678", Projects: make([]string, 21)}, ErrLimit},
	} {
		_, err := populated(t).CreateUser(context.Background(), c.n)
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestAccessKeys(t *testing.T) {
	w, ctx := populated(t), context.Background()
	k, secret, err := w.CreateAccessKey(ctx, NewAccessKey{User: "alice", Description: "laptop"})
	require.NoError(t, err)
	require.Len(t, k.Access, 20)
	require.Len(t, secret, 40)
	require.Equal(t, testProject, k.Project, "the user's first")
	doc := w.broker.docs[private.KindAccessKeys+"\x00"+k.Access]
	require.NotContains(t, string(doc.Value), secret, "sealed")

	_, _, err = w.CreateAccessKey(ctx, NewAccessKey{User: "alice", Project: "other"})
	require.ErrorIs(t, err, ErrDenied)
	_, _, err = w.CreateAccessKey(ctx, NewAccessKey{User: "nobody"})
	require.ErrorIs(t, err, ErrNotFound)
	_, _, err = w.CreateAccessKey(ctx, NewAccessKey{User: "root"})
	require.ErrorIs(t, err, ErrInvalid, "an administrator has to name the project")

	list, err := w.AccessKeys(ctx, "alice")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.NoError(t, w.DeleteAccessKey(ctx, k.Access))
	require.ErrorIs(t, w.DeleteAccessKey(ctx, k.Access), ErrNotFound)

	for range MaxUserKeys - 1 {
		_, _, err := w.CreateAccessKey(ctx, NewAccessKey{User: "alice"})
		require.NoError(t, err)
	}
	_, _, err = w.CreateAccessKey(ctx, NewAccessKey{User: "alice"})
	require.ErrorIs(t, err, ErrLimit)
	require.NoError(t, w.DeleteUser(ctx, "alice"), "with all of them")
	require.Zero(t, w.broker.count(private.KindAccessKeys))
}

func TestASealedSecretCanNotBeMovedToAnotherKey(t *testing.T) {
	w, ctx := populated(t), context.Background()
	w.addKey(t, "bob", otherProject, "BOBSKEY", "BOBSSECRET")
	text := string(w.broker.docs[private.KindAccessKeys+"\x00BOBSKEY"].Value)
	w.broker.put(private.KindAccessKeys, "BOBSKEY", strings.Replace(text, otherProject, testProject, 1))
	k, err := w.accessKey(ctx, "BOBSKEY")
	require.NoError(t, err)
	_, err = w.secretOf(ctx, k)
	require.ErrorIs(t, err, errSeal)
}

func TestLimitsHoldWhenManyCreateAtOnce(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 5 {
				_, err := w.CreateProject(ctx, NewProject{Name: fmt.Sprintf("p%d-%d", i, n)})
				if err != nil {
					require.ErrorIs(t, err, ErrConflict)
				}
			}
		})
	}
	wg.Wait()
	r, _, err := w.registry(ctx)
	require.NoError(t, err)
	require.Equal(t, w.broker.count(private.KindProjects), r.Projects)

	w.broker.put(private.KindSecrets, registryDocument, fmt.Sprintf(`{"projects":%d,"users":%d,"admins":1}`, MaxProjects, MaxUsers))
	_, err = w.CreateProject(ctx, NewProject{Name: "more"})
	require.ErrorIs(t, err, ErrLimit)
	_, err = w.CreateUser(ctx, NewUser{Name: "more", Password: "12345678"})
	require.ErrorIs(t, err, ErrLimit)
}

func TestTheBrokerIsDown(t *testing.T) {
	w, ctx := populated(t), context.Background()
	w.broker.down = true
	_, err := w.Users(ctx)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, errDown)
	_, err = w.CreateProject(ctx, NewProject{Name: "x"})
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestTheCacheIsBoundedAndKnowsRevisions(t *testing.T) {
	var c cache
	c.put("k", "n", 1, "one")
	require.Equal(t, "one", c.get("k", "n", 1))
	require.Nil(t, c.get("k", "n", 2))
	for i := range cached + 100 {
		c.put("k", fmt.Sprint(i), 1, i)
	}
	require.LessOrEqual(t, len(c.entries), cached)
}
