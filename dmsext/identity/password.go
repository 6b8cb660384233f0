package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// cost is what a password hash costs: passes over KiB of memory, one thread. The default is a few milliseconds and 12 MiB,
// the least that OWASP's password storage page recommends for Argon2id.
type cost struct{ passes, kib uint32 }

var defaultCost = cost{passes: 3, kib: 12 << 10}

// Bounds on what a stored hash may ask for, so that a damaged document can not take the broker's memory.
const (
	maxPasses     = 16
	maxKiB        = 128 << 10
	hashLength    = 32
	saltLength    = 16
	hashesAtOnce  = 2
	hashesWaiting = 64
)

// passwords hashes and compares. Hashing is meant to be slow, so only so many are done at once and only so many wait.
type passwords struct {
	cost    cost
	slots   chan struct{}
	waiting atomic.Int32
	nobody  string // the hash that a login of an unknown user is compared with
	derive  func(password, salt []byte, c cost) []byte
}

func argon2id(password, salt []byte, c cost) []byte {
	return argon2.IDKey(password, salt, c.passes, c.kib, 1, hashLength)
}

func newPasswords(c cost) *passwords {
	p := &passwords{cost: c, slots: make(chan struct{}, hashesAtOnce), derive: argon2id}
	var salt [saltLength]byte
	p.nobody = encodeHash(c, salt[:], make([]byte, hashLength))
	return p
}

// hash gives a salted hash of a password, in the notation that is common for Argon2 ($argon2id$v=19$m=,t=,p=$salt$hash).
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	done, err := p.slot(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return encodeHash(p.cost, salt, p.derive([]byte(password), salt, p.cost)), nil
}

// matches compares in a time that does not depend on the password, nor on whether there is a hash at all: "" is the hash of
// a user who is not there.
func (p *passwords) matches(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = p.nobody
	}
	c, salt, want, err := decodeHash(hash)
	if err != nil {
		return false, err
	}
	done, err := p.slot(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	got := p.derive([]byte(password), salt, c)
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

func (p *passwords) slot(ctx context.Context) (done func(), err error) {
	if p.waiting.Add(1) > hashesWaiting {
		p.waiting.Add(-1)
		return nil, fmt.Errorf("%w: too many logins at once", ErrUnavailable)
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func encodeHash(c cost, salt, hash []byte) string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, c.kib, c.passes, b.EncodeToString(salt), b.EncodeToString(hash))
}

func decodeHash(text string) (c cost, salt, hash []byte, err error) {
	bad := fmt.Errorf("%w: a password hash can not be read", ErrUnavailable)
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, bad
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &c.kib, &c.passes); n != 2 || err != nil {
		return c, nil, nil, bad
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(hash) != hashLength || c.passes < 1 || c.passes > maxPasses || c.kib < 8 || c.kib > maxKiB {
		return c, nil, nil, bad
	}
	return c, salt, hash, nil
}
