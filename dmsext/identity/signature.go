package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// buffers for canonical requests: they live for one request.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// maxBuffer is the largest buffer that is kept for the next request.
const maxBuffer = 16 << 10

// signedBy tells whether a request was signed with that secret. It takes the same time for every wrong one.
func (a *authorization) signedBy(secret string, c *canonical, date string) (bool, error) {
	key, err := a.signingKey(secret)
	if err != nil {
		return false, err
	}
	buf, _ := buffers.Get().(*[]byte)
	b := *buf
	defer func() {
		if cap(b) <= maxBuffer {
			*buf = b[:0]
			buffers.Put(buf)
		}
	}()
	mac := hmac.New(sha256.New, key)
	for _, v := range c.variants(a.format) {
		b = c.appendTo(b[:0], v)
		hashed := sha256.Sum256(b)
		if a.matches(mac, date, hashed) {
			return true, nil
		}
	}
	return false, nil
}

// matches compares the signature with that of the string to sign:
//
//	algorithm \n X-Sdk-Date \n [scope \n] SHA-256 of the canonical request in hexadecimal
func (a *authorization) matches(mac hash.Hash, date string, hashed [sha256.Size]byte) bool {
	var room [256]byte
	b := append(append(room[:0], a.algorithm()...), '\n')
	b = append(append(b, date...), '\n')
	if a.format != formatAccess {
		b = append(append(b, a.scope...), '\n')
	}
	b = hex.AppendEncode(b, hashed[:])
	mac.Reset()
	mac.Write(b)
	return hmac.Equal(mac.Sum(room[:0]), a.signature[:])
}

// signingKey derives the key of the signature from the secret key.
func (a *authorization) signingKey(secret string) ([]byte, error) {
	switch a.format {
	case formatCredential:
		key := []byte("SDK" + secret)
		for _, step := range [...]string{a.date, a.region, a.service, terminator} {
			h := hmac.New(sha256.New, key)
			h.Write([]byte(step))
			key = h.Sum(nil)
		}
		return key, nil
	case formatDerived:
		key, err := hkdf.Key(sha256.New, []byte(secret), []byte(a.access), a.scope, sha256.Size)
		return hex.AppendEncode(nil, key), err
	default:
		return []byte(secret), nil
	}
}
