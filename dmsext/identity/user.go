package identity

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// User is somebody who can log in, as shown. Roles are "admin" (administers projects, users and access keys, and may use
// every project) and "member" (uses Projects, given by id, the first being the one for a login that names none).
type User struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Domain      string    `json:"domain"`
	Description string    `json:"description"`
	Roles       []string  `json:"roles"`
	Projects    []string  `json:"projects"`
	Created     time.Time `json:"created"`
}

// user is a user's document.
type user struct {
	User
	Password string       `json:"password"` // salted hash, see password.go
	Epoch    int64        `json:"epoch"`    // tokens of an earlier one are over
	Revoked  []revocation `json:"revoked,omitempty"`
	Keys     []userKey    `json:"keys,omitempty"`
}

type userKey struct {
	Access  string `json:"access"`
	Project string `json:"project"`
}

func (u *user) admin() bool { return slices.Contains(u.Roles, roleAdmin) }

// may tells whether the user may use a project.
func (u *user) may(project string) bool { return u.admin() || slices.Contains(u.Projects, project) }

// copy is one that may be altered; documents that were read are shared.
func (u *user) copy() *user {
	c := *u
	c.Roles, c.Projects = slices.Clone(u.Roles), slices.Clone(u.Projects)
	c.Revoked, c.Keys = slices.Clone(u.Revoked), slices.Clone(u.Keys)
	return &c
}

// NewUser is what a user is made with. Projects are ids or names; Roles may be empty: "member". The first user is an
// administrator whatever Roles say.
type NewUser struct {
	Name        string   `json:"name"`
	Domain      string   `json:"domain"`
	Description string   `json:"description"`
	Password    string   `json:"password"`
	Roles       []string `json:"roles"`
	Projects    []string `json:"projects"`
	OnlyFirst   bool     `json:"-"` // fail with ErrDenied when there is a user already
}

// UserChange is what is to be different about a user; nil fields stay.
type UserChange struct {
	Roles    *[]string `json:"roles"`
	Projects *[]string `json:"projects"`
	Password *string   `json:"password"`
}

// CreateUser makes a user. Errors: ErrInvalid, ErrExists, ErrLimit, ErrNotFound for a project, ErrDenied as NewUser says.
func (s *Service) CreateUser(ctx context.Context, n NewUser) (User, error) {
	n.Domain = cmp.Or(n.Domain, DefaultDomain)
	err := cmp.Or(checkName("user", n.Name), checkName("domain", n.Domain), checkDescription(n.Description), checkPassword(n.Password))
	if err != nil {
		return User{}, err
	}
	hash, err := s.passwords.hash(ctx, n.Password)
	if err != nil {
		return User{}, err
	}
	u := user{Password: hash, User: User{ID: newID(), Name: n.Name, Domain: n.Domain, Description: n.Description, Created: s.now().UTC()}}
	err = retry(ctx, func() error { return s.createUser(ctx, &u, n) })
	return u.User, err
}

func (s *Service) createUser(ctx context.Context, u *user, n NewUser) error {
	r, revision, err := s.registry(ctx)
	if err != nil {
		return err
	}
	if n.OnlyFirst && r.Users > 0 {
		return fmt.Errorf("%w: there is a user already", ErrDenied)
	}
	there, err := load[user](ctx, &s.docs, private.KindUsers, n.Name)
	if err != nil {
		return err
	}
	if there.Value != nil {
		return fmt.Errorf("%w: user %s", ErrExists, n.Name)
	}
	roles := n.Roles
	if r.Users == 0 {
		roles = append([]string{roleAdmin}, roles...)
	}
	if u.Roles, err = checkRoles(roles); err != nil {
		return err
	}
	var c change
	if u.Projects, err = s.grant(ctx, &c, nil, n.Projects); err != nil {
		return err
	}
	r.Users++
	r.Admins += count(u)
	if err := c.putRegistry(r, revision); err != nil {
		return err
	}
	if err := c.put(private.KindUsers, u.Name, private.Absent, u); err != nil {
		return err
	}
	return s.docs.write(ctx, &c)
}

func count(u *user) int {
	if u.admin() {
		return 1
	}
	return 0
}

func checkRoles(roles []string) ([]string, error) {
	set := []string{}
	for _, r := range roles {
		if r != roleAdmin && r != roleMember {
			return nil, fmt.Errorf("%w: role %q: there are %s and %s", ErrInvalid, clip(r), roleAdmin, roleMember)
		}
		if !slices.Contains(set, r) {
			set = append(set, r)
		}
	}
	if len(set) == 0 {
		set = append(set, roleMember)
	}
	return set, nil
}

// grant resolves projects, and puts those again that were not the user's before (see the package's invariants).
func (s *Service) grant(ctx context.Context, c *change, before, projects []string) ([]string, error) {
	if len(projects) > MaxUserProjects {
		return nil, fmt.Errorf("%w: a user has at most %d projects", ErrLimit, MaxUserProjects)
	}
	ids := []string{}
	for _, name := range projects {
		p, err := s.project(ctx, name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, p.Name) {
			continue
		}
		ids = append(ids, p.Name)
		if !slices.Contains(before, p.Name) {
			c.putRaw(private.KindProjects, p.Name, p.Revision, p.raw)
		}
	}
	return ids, nil
}

// Users lists all users by name.
func (s *Service) Users(ctx context.Context) ([]User, error) {
	all := []User{}
	err := each(ctx, &s.docs, private.KindUsers, func(u stored[user]) bool {
		all = append(all, u.Value.User)
		return true
	})
	return all, err
}

// User finds a user by name. Error: ErrNotFound.
func (s *Service) User(ctx context.Context, name string) (User, error) {
	u, err := s.user(ctx, name)
	if err != nil {
		return User{}, err
	}
	return u.Value.User, nil
}

func (s *Service) user(ctx context.Context, name string) (stored[user], error) {
	if !plainName.MatchString(name) {
		return stored[user]{}, fmt.Errorf("%w: user %q", ErrNotFound, clip(name))
	}
	u, err := load[user](ctx, &s.docs, private.KindUsers, name)
	if err == nil && u.Value == nil {
		err = fmt.Errorf("%w: user %s", ErrNotFound, name)
	}
	return u, err
}

// DeleteUser deletes a user with its access keys; its tokens end. Errors: ErrNotFound; ErrInUse for the only administrator
// while there are other users.
func (s *Service) DeleteUser(ctx context.Context, name string) error {
	return retry(ctx, func() error {
		u, err := s.user(ctx, name)
		if err != nil {
			return err
		}
		r, revision, err := s.registry(ctx)
		if err != nil {
			return err
		}
		r.Users--
		r.Admins -= count(u.Value)
		var c change
		if err := c.putRegistry(r, revision); err != nil {
			return err
		}
		c.remove(private.KindUsers, name, u.Revision)
		for _, k := range u.Value.Keys {
			c.drop(private.KindAccessKeys, k.Access)
		}
		return s.docs.write(ctx, &c)
	})
}

// ChangeUser alters a user. Access keys of projects that the user may not use any more are deleted; a new password ends the
// user's tokens. Errors: ErrNotFound for the user or a project, ErrInvalid, ErrLimit, ErrInUse as DeleteUser.
func (s *Service) ChangeUser(ctx context.Context, name string, ch UserChange) (User, error) {
	hash := ""
	if ch.Password != nil {
		if err := checkPassword(*ch.Password); err != nil {
			return User{}, err
		}
		h, err := s.passwords.hash(ctx, *ch.Password)
		if err != nil {
			return User{}, err
		}
		hash = h
	}
	var changed User
	err := retry(ctx, func() error {
		before, err := s.user(ctx, name)
		if err != nil {
			return err
		}
		u := before.Value.copy()
		var c change
		if err := s.alter(ctx, &c, u, ch, hash); err != nil {
			return err
		}
		if d := count(u) - count(before.Value); d != 0 {
			r, revision, err := s.registry(ctx)
			if err != nil {
				return err
			}
			r.Admins += d
			if err := c.putRegistry(r, revision); err != nil {
				return err
			}
		}
		changed = u.User
		if err := c.put(private.KindUsers, name, before.Revision, u); err != nil {
			return err
		}
		return s.docs.write(ctx, &c)
	})
	return changed, err
}

func (s *Service) alter(ctx context.Context, c *change, u *user, ch UserChange, hash string) (err error) {
	if ch.Projects != nil {
		if u.Projects, err = s.grant(ctx, c, u.Projects, *ch.Projects); err != nil {
			return err
		}
	}
	if ch.Roles != nil {
		if u.Roles, err = checkRoles(*ch.Roles); err != nil {
			return err
		}
	}
	if hash != "" {
		u.Password = hash
		u.Epoch++
		u.Revoked = nil
	}
	u.Keys = slices.DeleteFunc(u.Keys, func(k userKey) bool {
		gone := !u.may(k.Project)
		if gone {
			c.drop(private.KindAccessKeys, k.Access)
		}
		return gone
	})
	return nil
}
