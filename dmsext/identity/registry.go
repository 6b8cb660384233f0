package identity

import (
	"context"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// The most there can be.
const (
	MaxProjects      = 1000
	MaxUsers         = 1000
	MaxUserProjects  = 20
	MaxUserKeys      = 20
	registryDocument = "identity/registry"
	roleAdmin        = "admin"
	roleMember       = "member"
	maxRevocations   = 64
)

// registry counts what there is. Creating and deleting change it, so that they happen one after the other.
type registry struct {
	Projects int `json:"projects"`
	Users    int `json:"users"`
	Admins   int `json:"admins"`
}

func (s *Service) registry(ctx context.Context) (registry, int64, error) {
	r, err := load[registry](ctx, &s.docs, private.KindSecrets, registryDocument)
	if err != nil || r.Value == nil {
		return registry{}, r.Revision, err
	}
	return *r.Value, r.Revision, nil
}

// putRegistry adds the registry to a change, unless it breaks what must hold of it.
func (c *change) putRegistry(r registry, revision int64) error {
	switch {
	case r.Projects > MaxProjects:
		return fmt.Errorf("%w: there are %d projects", ErrLimit, MaxProjects)
	case r.Users > MaxUsers:
		return fmt.Errorf("%w: there are %d users", ErrLimit, MaxUsers)
	case r.Users > 0 && r.Admins == 0:
		return fmt.Errorf("%w: this is the only administrator, and there are other users", ErrInUse)
	}
	return c.put(private.KindSecrets, registryDocument, revision, r)
}
