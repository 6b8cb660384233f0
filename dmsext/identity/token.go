package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// tokenLife is how long a token is good (DMS reference, section 12.1), and the most that a temporary key is.
const tokenLife = 24 * time.Hour

// maxToken bounds the text of a token that is looked at, in bytes.
const maxToken = 512

// Why a token is refused.
var (
	errTokenInvalid = errors.New("the token is invalid")
	errTokenExpired = errors.New("the token has expired")
)

// claim is what a token says. Its text is the URL form of base64 without padding of
//
//	version 1 | kind 1 | generation 4 | issued ms 8 | expires ms 8 | epoch 8 | family 16 | user id 16 |
//	project id 16 (zeros: none) | methods 1 | scope 1 | user name 1-64 | HMAC-SHA256 of all before, 32
//
// Numbers are big endian. The key is derived from the generation's for the kind.
type claim struct {
	kind            byte
	issued, expires time.Time
	epoch           int64
	family          [16]byte // one login with all that was made from it: revoked together; Keystone's audit id
	userID          [16]byte
	project         [16]byte
	methods         byte
	domain          bool // for the user's domain instead of a project
	user            string
}

const (
	claimVersion  = 1
	kindToken     = 'T'
	kindTemporary = 'S' // a security token of a temporary access key

	claimHead  = 6
	claimFixed = claimHead + 3*8 + 3*16 + 2

	byPassword = 1 << 0
	byToken    = 1 << 1
	byKey      = 1 << 2
)

func purpose(kind byte) string {
	if kind == kindTemporary {
		return "security token"
	}
	return "token"
}

func (c *claim) projectID() string {
	if c.project == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(c.project[:])
}

func (c *claim) auditID() string { return base64.RawURLEncoding.EncodeToString(c.family[:]) }

// body is the claim without the authentication, made by that generation.
func (c *claim) body(generation uint32) []byte {
	b := make([]byte, 0, claimFixed+len(c.user)+sha256.Size)
	b = append(b, claimVersion, c.kind)
	b = binary.BigEndian.AppendUint32(b, generation)
	b = binary.BigEndian.AppendUint64(b, uint64(c.issued.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(c.expires.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(c.epoch))
	b = append(b, c.family[:]...)
	b = append(b, c.userID[:]...)
	b = append(b, c.project[:]...)
	scope := byte(0)
	if c.domain {
		scope = 1
	}
	return append(append(b, c.methods, scope), c.user...)
}

// seal makes the text of a token.
func (c *claim) seal(g *generation) (string, error) {
	b := c.body(g.ID)
	mac, err := authenticate(g, c.kind, b)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(b, mac...)), nil
}

func authenticate(g *generation, kind byte, body []byte) ([]byte, error) {
	key, err := g.derive(purpose(kind))
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil), nil
}

// parseClaim reads a token's text without believing it: body and mac are to be compared by the caller.
func parseClaim(text string) (c *claim, generation uint32, body, mac []byte, err error) {
	if len(text) > maxToken {
		return nil, 0, nil, nil, errTokenInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < claimFixed+1+sha256.Size || raw[0] != claimVersion {
		return nil, 0, nil, nil, errTokenInvalid
	}
	body, mac = raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	c = &claim{kind: body[1]}
	generation = binary.BigEndian.Uint32(body[2:])
	b := body[claimHead:]
	c.issued = time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
	c.expires = time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:]))).UTC()
	c.epoch = int64(binary.BigEndian.Uint64(b[16:]))
	b = b[24:]
	b = b[copy(c.family[:], b):]
	b = b[copy(c.userID[:], b):]
	b = b[copy(c.project[:], b):]
	c.methods, c.domain = b[0], b[1] != 0
	c.user = string(b[2:])
	return c, generation, body, mac, nil
}

// newClaim is a login of that user now, for nothing yet.
func (s *Service) newClaim(u *user, methods byte) (*claim, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	c := &claim{kind: kindToken, issued: now, expires: now.Add(tokenLife), epoch: u.Epoch, methods: methods, user: u.Name}
	rand.Read(c.family[:])
	id, err := hex.DecodeString(u.ID)
	if err != nil || len(id) != len(c.userID) {
		return nil, fmt.Errorf("%w: user %s has id %q", ErrUnavailable, u.Name, u.ID)
	}
	copy(c.userID[:], id)
	return c, nil
}

// verifyToken tells whose token it is and that it is good now: authentic, not over, not revoked, of a user who is there and may
// use the project still. Errors: errTokenInvalid, errTokenExpired, or the broker's.
func (s *Service) verifyToken(ctx context.Context, text string, kind byte) (*claim, *user, error) {
	c, id, body, mac, err := parseClaim(text)
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	if keys == nil {
		return nil, nil, errTokenInvalid
	}
	g := keys.find(id)
	if g == nil {
		return nil, nil, errTokenInvalid
	}
	want, err := authenticate(g, kind, body)
	if err != nil {
		return nil, nil, err
	}
	if !hmac.Equal(want, mac) || c.kind != kind {
		return nil, nil, errTokenInvalid
	}
	if !s.now().Before(c.expires) {
		return nil, nil, errTokenExpired
	}
	u, err := s.holder(ctx, c)
	return c, u, err
}

// holder is the user of an authentic claim, if it still holds.
func (s *Service) holder(ctx context.Context, c *claim) (*user, error) {
	found, err := load[user](ctx, &s.docs, private.KindUsers, c.user)
	if err != nil {
		return nil, err
	}
	u := found.Value
	if u == nil || u.ID != hex.EncodeToString(c.userID[:]) || u.Epoch != c.epoch || u.revoked(c) {
		return nil, errTokenInvalid
	}
	project := c.projectID()
	if project == "" || slices.Contains(u.Projects, project) {
		return u, nil
	}
	if !u.admin() {
		return nil, errTokenInvalid
	}
	// Only an administrator's own projects are kept from being deleted.
	p, err := load[Project](ctx, &s.docs, private.KindProjects, project)
	if err == nil && p.Value == nil {
		err = errTokenInvalid
	}
	return u, err
}

// revocation is a login that ended before its time. It is kept until everything made from it has ended by itself.
type revocation struct {
	Family []byte    `json:"family"`
	Until  time.Time `json:"until"`
}

func (u *user) revoked(c *claim) bool {
	return slices.ContainsFunc(u.Revoked, func(r revocation) bool { return bytes.Equal(r.Family, c.family[:]) })
}

// revoke ends a token with everything made from it. When too many are remembered already, all of the user's tokens end.
func (s *Service) revoke(ctx context.Context, c *claim) error {
	return retry(ctx, func() error {
		before, err := s.user(ctx, c.user)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if before.Value.revoked(c) || before.Value.Epoch != c.epoch {
			return nil
		}
		now := s.now().UTC()
		u := before.Value.copy()
		u.Revoked = slices.DeleteFunc(u.Revoked, func(r revocation) bool { return !now.Before(r.Until) })
		if len(u.Revoked) >= maxRevocations {
			u.Revoked = nil
			u.Epoch++
		} else {
			u.Revoked = append(u.Revoked, revocation{c.family[:], now.Add(tokenLife)})
		}
		var ch change
		if err := ch.put(private.KindUsers, u.Name, before.Revision, u); err != nil {
			return err
		}
		return s.docs.write(ctx, &ch)
	})
}

func (c *claim) setProject(id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(c.project) {
		return fmt.Errorf("%w: project id %q", ErrUnavailable, id)
	}
	copy(c.project[:], raw)
	return nil
}
