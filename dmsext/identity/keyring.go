package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

const (
	tokensDocument  = "identity/tokens"
	sealingDocument = "identity/sealing"
	keyLength       = 32

	// keyLife is how long a generation makes tokens. With the one before it kept, a token's key is there for at least as
	// long again, which is more than a token lives.
	keyLife = 7 * 24 * time.Hour
	// keyGrace is how old a generation is before it is used, so that every broker knows it by then.
	keyGrace = time.Minute
)

// keyring holds the generations of the key that authenticates tokens, the newest first.
type keyring struct {
	Generations []generation `json:"generations"`
}

type generation struct {
	ID      uint32    `json:"id"`
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// find gives the key of a generation for one purpose, nil when it is not known any more.
func (k *keyring) find(id uint32) *generation {
	for i := range k.Generations {
		if k.Generations[i].ID == id {
			return &k.Generations[i]
		}
	}
	return nil
}

// current is the generation that makes tokens now.
func (k *keyring) current(now time.Time) *generation {
	for i := range k.Generations {
		if now.Sub(k.Generations[i].Created) >= keyGrace {
			return &k.Generations[i]
		}
	}
	return &k.Generations[len(k.Generations)-1]
}

// derive makes the key for one purpose, so that what is made for one is nothing for another.
func (g *generation) derive(purpose string) ([]byte, error) {
	return hkdf.Expand(sha256.New, g.Key, "tidemark identity "+purpose, keyLength)
}

// keys reads the generations; nil when there are none yet.
func (s *Service) keys(ctx context.Context) (*keyring, error) {
	k, err := load[keyring](ctx, &s.docs, private.KindSecrets, tokensDocument)
	if err != nil || k.Value == nil || len(k.Value.Generations) == 0 {
		return nil, err
	}
	return k.Value, nil
}

// issuing is the generation for a token that is made now. It makes the first one, and a new one when it is time.
func (s *Service) issuing(ctx context.Context) (*generation, error) {
	var g *generation
	err := retry(ctx, func() error {
		k, err := load[keyring](ctx, &s.docs, private.KindSecrets, tokensDocument)
		if err != nil {
			return err
		}
		now := s.now()
		if k.Value != nil && len(k.Value.Generations) > 0 && now.Sub(k.Value.Generations[0].Created) < keyLife {
			g = k.Value.current(now)
			return nil
		}
		next := keyring{Generations: []generation{{ID: 1, Key: randomKey(), Created: now.UTC()}}}
		if k.Value != nil && len(k.Value.Generations) > 0 {
			newest := k.Value.Generations[0]
			next.Generations[0].ID = newest.ID + 1
			next.Generations = append(next.Generations, newest)
		}
		var c change
		if err := c.put(private.KindSecrets, tokensDocument, k.Revision, next); err != nil {
			return err
		}
		g = next.current(now)
		return s.docs.write(ctx, &c)
	})
	return g, err
}

func randomKey() []byte {
	key := make([]byte, keyLength)
	rand.Read(key)
	return key
}

// sealingKey seals the secrets of access keys with AES-256-GCM.
type sealingKey struct {
	Key []byte `json:"key"`

	aead atomic.Pointer[cipher.AEAD]
}

// sealing reads the sealing key, and makes it when it is needed for the first time.
func (s *Service) sealing(ctx context.Context) (*sealingKey, error) {
	var key *sealingKey
	err := retry(ctx, func() error {
		k, err := load[sealingKey](ctx, &s.docs, private.KindSecrets, sealingDocument)
		if err != nil || k.Value != nil {
			key = k.Value
			return err
		}
		key = &sealingKey{Key: randomKey()}
		var c change
		if err := c.put(private.KindSecrets, sealingDocument, private.Absent, key); err != nil {
			return err
		}
		return s.docs.write(ctx, &c)
	})
	return key, err
}

func (k *sealingKey) gcm() (cipher.AEAD, error) {
	if a := k.aead.Load(); a != nil {
		return *a, nil
	}
	a, err := newGCM(k.Key)
	if err != nil {
		return nil, err
	}
	k.aead.Store(&a)
	return a, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != keyLength {
		return nil, fmt.Errorf("key of %d bytes instead of %d", len(key), keyLength)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (k *sealingKey) seal(secret, binding string) ([]byte, error) {
	a, err := k.gcm()
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, []byte(secret), []byte(binding)), nil
}

var errSeal = errors.New("the seal is broken")

func (k *sealingKey) open(sealed []byte, binding string) (string, error) {
	a, err := k.gcm()
	if err != nil {
		return "", err
	}
	secret, err := a.Open(nil, nil, sealed, []byte(binding))
	if err != nil {
		return "", errSeal
	}
	return string(secret), nil
}
