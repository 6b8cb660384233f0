package queue

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// holder names who leased messages: one retrieval. It is random, so that nobody guesses another's.
type holder [16]byte

func newHolder() (h holder) {
	rand.Read(h[:]) // never fails
	return h
}

// text is how the lease engine knows the holder.
func (h holder) text() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// secretsName is the document of kind secrets that holds the keys.
const secretsName = "handles"

// secretsDoc is that document: two keys at most, the newer last.
type secretsDoc struct {
	Keys []secretKey `json:"keys"`
}

type secretKey struct {
	Generation byte   `json:"generation"` // counts from 1, wraps
	Key        []byte `json:"key"`
	Created    int64  `json:"created"` // ms since the epoch
}

// keySettles is how long a new key only verifies: by then every broker has it.
const keySettles = time.Minute

// keyChecked is for how long read keys are used before the document is looked at again.
const keyChecked = 20 * time.Second

// macKey is one key with hash states that are ready for use.
type macKey struct {
	generation byte
	created    time.Time
	states     sync.Pool // of *macState
}

type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	said []byte
}

func newMACKey(k secretKey) *macKey {
	out := &macKey{generation: k.Generation, created: time.UnixMilli(k.Created)}
	out.states.New = func() any { return &macState{hash: hmac.New(sha256.New, k.Key)} }
	return out
}

// appendMAC appends the MAC of what is said in a project.
func (k *macKey) appendMAC(dst []byte, project string, said []byte) []byte {
	m := k.states.Get().(*macState)
	defer k.states.Put(m)
	m.hash.Reset()
	m.said = append(append(append(m.said[:0], project...), 0), said...)
	m.hash.Write(m.said)
	return append(dst, m.hash.Sum(m.sum[:0])[:macSize]...)
}

// keyring keeps the keys as they were last read.
type keyring struct{ current atomic.Pointer[keys] }

type keys struct {
	revision int64
	read     time.Time
	all      []*macKey // the newer last
}

// get is the key of a generation, nil if there is none.
func (k *keys) get(generation byte) *macKey {
	for _, key := range k.all {
		if key.generation == generation {
			return key
		}
	}
	return nil
}

// signing is the key for new handles: the newest that every broker knows by now.
func (k *keys) signing(now time.Time) *macKey {
	last := len(k.all) - 1
	if last > 0 && now.Sub(k.all[last].created) < keySettles {
		last--
	}
	return k.all[last]
}

// handleKeys are the keys of handles. The first call of all makes the first key, and a key that has become old gets a successor.
func (s *Service) handleKeys(ctx context.Context) (*keys, error) {
	if k := s.keys.current.Load(); k != nil {
		if age := s.now().Sub(k.read); age >= 0 && age < keyChecked {
			return k, nil
		}
	}
	return s.readKeys(ctx)
}

// readKeys reads the document, and writes it where it lacks a key.
func (s *Service) readKeys(ctx context.Context) (*keys, error) {
	var last error
	for attempt := range mostAttempts {
		if err := yield(ctx, attempt); err != nil {
			return nil, err
		}
		doc, revision, err := s.secrets(ctx)
		if err != nil {
			return nil, err
		}
		now := s.now()
		if n := len(doc.Keys); n > 0 && now.Sub(time.UnixMilli(doc.Keys[n-1].Created)) < s.keyAge {
			return s.keepKeys(doc, revision, now), nil
		}
		t := &transaction{}
		t.when(private.KindSecrets, secretsName, revision)
		t.put(private.KindSecrets, secretsName, doc.withNext(now))
		if _, err = s.commit(ctx, t); err == nil {
			continue
		}
		if last, err = err, again(err, last); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("keys of handles: others change them all the time: %w", last)
}

// secrets reads the document of the keys; without one its revision is private.Absent.
func (s *Service) secrets(ctx context.Context) (doc secretsDoc, revision int64, err error) {
	d, ok, err := s.document(ctx, private.KindSecrets, secretsName)
	if err != nil || !ok {
		return doc, private.Absent, err
	}
	if err = json.Unmarshal(d.Value, &doc); err != nil {
		return doc, 0, fmt.Errorf("document of the keys of handles: %w", err)
	}
	return doc, d.Revision, nil
}

// withNext is the document with one more key, and of the old ones the newest.
func (d secretsDoc) withNext(now time.Time) secretsDoc {
	next := secretKey{Generation: 1, Key: make([]byte, sha256.Size), Created: now.UnixMilli()}
	rand.Read(next.Key) // never fails
	n := len(d.Keys)
	if n == 0 {
		return secretsDoc{Keys: []secretKey{next}}
	}
	next.Generation = d.Keys[n-1].Generation + 1
	return secretsDoc{Keys: []secretKey{d.Keys[n-1], next}}
}

// keepKeys keeps read keys; hash states of keys that are the same stay in use.
func (s *Service) keepKeys(doc secretsDoc, revision int64, now time.Time) *keys {
	k := &keys{revision: revision, read: now}
	if old := s.keys.current.Load(); old != nil && old.revision == revision {
		k.all = old.all
	} else {
		for _, key := range doc.Keys {
			k.all = append(k.all, newMACKey(key))
		}
	}
	s.keys.current.Store(k)
	return k
}
