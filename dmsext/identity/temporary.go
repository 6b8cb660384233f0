package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Temporary is an access key that ends by itself. It has no document: the security token carries what it may do, and access
// and secret key follow from the security token and a key that only the brokers know.
type Temporary struct {
	Access        string
	Secret        string
	SecurityToken string
	Project       string
	Expires       time.Time
}

// How long temporary keys are good (IAM's figures).
const (
	minTemporary = 15 * time.Minute
	maxTemporary = tokenLife
)

// temporary makes a temporary key for the project of a token. It ends with that token's login when that is revoked.
func (s *Service) temporary(ctx context.Context, from *claim, life time.Duration) (Temporary, error) {
	if life < minTemporary || life > maxTemporary {
		return Temporary{}, fmt.Errorf("%w: duration_seconds: want %d to %d", ErrInvalid, int(minTemporary.Seconds()), int(maxTemporary.Seconds()))
	}
	if from.projectID() == "" {
		return Temporary{}, fmt.Errorf("%w: the token is for no project", ErrInvalid)
	}
	g, err := s.issuing(ctx)
	if err != nil {
		return Temporary{}, err
	}
	c := *from
	c.kind = kindTemporary
	c.issued = s.now().UTC().Truncate(time.Millisecond)
	c.expires = c.issued.Add(life)
	text, err := c.seal(g)
	if err != nil {
		return Temporary{}, err
	}
	access, secret, err := temporaryKey(g, c.body(g.ID))
	return Temporary{Access: access, Secret: secret, SecurityToken: text, Project: c.projectID(), Expires: c.expires}, err
}

// temporaryKey gives the access and secret key that belong to a security token with that body.
func temporaryKey(g *generation, body []byte) (access, secret string, err error) {
	key, err := g.derive("temporary secret")
	if err != nil {
		return "", "", err
	}
	sum := func(what byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte{what})
		h.Write(body)
		return h.Sum(nil)
	}
	return temporaryPrefix + fmt.Sprintf("%X", sum('A')[:12]), hex.EncodeToString(sum('S'))[:secretLength], nil
}

// openTemporary verifies a security token and gives the key that belongs to it. Errors as verifyToken.
func (s *Service) openTemporary(ctx context.Context, text string) (Temporary, *user, error) {
	c, u, err := s.verifyToken(ctx, text, kindTemporary)
	if err != nil {
		return Temporary{}, nil, err
	}
	_, id, body, _, err := parseClaim(text)
	if err != nil {
		return Temporary{}, nil, err
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return Temporary{}, nil, err
	}
	g := keys.find(id)
	if g == nil {
		return Temporary{}, nil, errTokenInvalid
	}
	access, secret, err := temporaryKey(g, body)
	return Temporary{Access: access, Secret: secret, SecurityToken: text, Project: c.projectID(), Expires: c.expires}, u, err
}
