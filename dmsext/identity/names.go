package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultDomain is the domain of projects and users that were given none; its id is the same word in lower case, as in
// Keystone.
const DefaultDomain = "Default"

var (
	projectID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)
)

const (
	maxDescription = 160 // characters
	minPassword    = 8   // characters
	maxPassword    = 512 // bytes
)

func checkName(what, name string) error {
	if !plainName.MatchString(name) {
		return fmt.Errorf("%w: %s name %q: want 1 to 64 letters, digits or _ . @ -, the first a letter or digit", ErrInvalid, what, clip(name))
	}
	return nil
}

func checkDescription(text string) error {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxDescription || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%w: description: want at most %d printable characters", ErrInvalid, maxDescription)
	}
	return nil
}

func checkPassword(password string) error {
	if !utf8.ValidString(password) || utf8.RuneCountInString(password) < minPassword || len(password) > maxPassword {
		return fmt.Errorf("%w: password: want at least %d characters and at most %d bytes", ErrInvalid, minPassword, maxPassword)
	}
	return nil
}

// clip keeps what a client sent from filling an answer or a log.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// newID is 32 random lower-case hex digits, as all ids are that are not derived from a name.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// derivedID is the same 32 hex digits for the same words, for what has a name but no document: domains, roles, services.
func derivedID(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func domainID(name string) string {
	if strings.EqualFold(name, DefaultDomain) {
		return "default"
	}
	return derivedID("domain", strings.ToLower(name))
}

// The letters of access and secret keys: none needs quoting in a shell, a URL or an Authorization header.
const (
	accessLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	secretLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// randomText is n letters, each as likely as any other.
func randomText(letters string, n int) string {
	fair := 256 - 256%len(letters)
	text := make([]byte, 0, n)
	var b [64]byte
	for len(text) < n {
		rand.Read(b[:])
		for _, x := range b {
			if int(x) < fair && len(text) < n {
				text = append(text, letters[int(x)%len(letters)])
			}
		}
	}
	return string(text)
}

// RandomPassword is a password that nobody guesses, for a user who brings none.
func RandomPassword() string { return randomText(secretLetters, 24) }
