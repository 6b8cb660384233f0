package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// format is one of the three ways to sign a request (DMS reference, section 12.2).
type format byte

const (
	formatAccess     format = 'A' // SDK-HMAC-SHA256 Access=...
	formatCredential format = 'B' // SDK-HMAC-SHA256 Credential=AK/date/region/service/sdk_request
	formatDerived    format = 'C' // V11-HMAC-SHA256 Credential=AK/date/region/service
)

const (
	algorithmSDK = "SDK-HMAC-SHA256"
	algorithmV11 = "V11-HMAC-SHA256"
	terminator   = "sdk_request"

	maxAuthorization = 4096 // bytes of the header
	maxSignedHeaders = 64
)

// authorization is what an Authorization header says.
type authorization struct {
	format                format
	access                string
	date, region, service string   // of the scope: formats B and C; region and service may be empty
	scope                 string   // as it stands in the string to sign; "" in format A
	headers               []string // lower case, sorted
	signature             [sha256.Size]byte
}

func (a *authorization) algorithm() string {
	if a.format == formatDerived {
		return algorithmV11
	}
	return algorithmSDK
}

var errAuthorization = errors.New("the Authorization header is not one of a signed request")

func malformed(why string, args ...any) error {
	return fmt.Errorf("%w: %s", errAuthorization, fmt.Sprintf(why, args...))
}

// parseAuthorization reads the header of a signed request. It sizes nothing by what it reads but the list of headers, which is
// bounded.
func parseAuthorization(text string) (*authorization, error) {
	if len(text) > maxAuthorization {
		return nil, malformed("more than %d bytes", maxAuthorization)
	}
	algorithm, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if algorithm != algorithmSDK && algorithm != algorithmV11 {
		return nil, malformed("unknown algorithm %q", clip(algorithm))
	}
	var parts parts
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, malformed("want name=value pairs")
		}
		into := parts.named(name)
		if into == nil || *into != "" || value == "" {
			return nil, malformed("part %q is unknown, empty or there twice", clip(name))
		}
		*into = value
	}
	a := &authorization{}
	if err := a.identify(algorithm, &parts); err != nil {
		return nil, err
	}
	if !accessName.MatchString(a.access) {
		return nil, malformed("no access key")
	}
	if len(parts.signature) != 2*sha256.Size {
		return nil, malformed("the signature is not %d hexadecimal digits", 2*sha256.Size)
	}
	if _, err := hex.Decode(a.signature[:], []byte(parts.signature)); err != nil {
		return nil, malformed("the signature is not hexadecimal")
	}
	var err error
	a.headers, err = parseSignedHeaders(parts.signedHeaders)
	return a, err
}

// parts are the name=value pairs of the header.
type parts struct{ access, credential, signedHeaders, signature string }

func (p *parts) named(name string) *string {
	switch name {
	case "Access":
		return &p.access
	case "Credential":
		return &p.credential
	case "SignedHeaders":
		return &p.signedHeaders
	case "Signature":
		return &p.signature
	}
	return nil
}

// identify reads who signed, and with what scope.
func (a *authorization) identify(algorithm string, parts *parts) error {
	access, credential := parts.access, parts.credential
	if (access == "") == (credential == "") {
		return malformed("want either Access or Credential")
	}
	if access != "" {
		a.format, a.access = formatAccess, access
		if algorithm != algorithmSDK {
			return malformed("%s needs a Credential", algorithm)
		}
		return nil
	}
	a.access, a.scope, _ = strings.Cut(credential, "/")
	fields := strings.Split(a.scope, "/")
	switch {
	case algorithm == algorithmV11 && len(fields) == 3:
		a.format = formatDerived
	case algorithm == algorithmSDK && len(fields) == 4 && fields[3] == terminator:
		a.format = formatCredential
	default:
		return malformed("the scope of the Credential is not that of %s", algorithm)
	}
	a.date, a.region, a.service = fields[0], fields[1], fields[2]
	return nil
}

func parseSignedHeaders(list string) ([]string, error) {
	if list == "" {
		return nil, malformed("no signed headers")
	}
	if strings.Count(list, ";") >= maxSignedHeaders {
		return nil, malformed("more than %d signed headers", maxSignedHeaders)
	}
	names := strings.Split(strings.ToLower(list), ";")
	slices.Sort(names)
	for i, name := range names {
		if name == "" || strings.ContainsFunc(name, notToken) {
			return nil, malformed("signed header %q", clip(name))
		}
		if i > 0 && name == names[i-1] {
			return nil, malformed("signed header %q twice", clip(name))
		}
	}
	return names, nil
}

// notToken finds what can not stand in a header's name.
func notToken(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}
