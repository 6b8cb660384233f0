package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The canonical request is what both sides hash (DMS reference, section 12.2):
//
//	METHOD \n
//	/path/with/each%20segment/encoded/ \n      always ends with /
//	a=1&b=2 \n                                 by key, then value; empty without a query
//	host:dms.example.test \n                   a line for each signed header, by name
//	x-sdk-date:20300102T030405Z \n
//	\n
//	host;x-sdk-date \n
//	<SHA-256 of the body in hexadecimal>

// variant is how a client deviates from the canonical request that the others make. None of them leaves a part of the request
// unsigned but the port that it was sent to.
type variant struct {
	byEncoded  bool // the query is sorted after it was encoded
	ignoreCase bool // the query is sorted without regard to case, white space in header values is squeezed (golangsdk)
	asPayload  bool // the query stands in the body's place (golangsdk: POST without a body)
	bareHost   bool // host is signed without its port (openstack4j, whose Java sends it all the same unless told in time)
}

const (
	contentHash     = "X-Sdk-Content-Sha256"
	unsignedPayload = "UNSIGNED-PAYLOAD"

	maxQueryPairs = 256
)

var errUnsigned = errors.New("not signed as a request to this service")

// pair is a key with a value of a query, decoded.
type pair struct{ key, value string }

// canonical is a request, taken apart once for all variants.
type canonical struct {
	method  string
	path    string // as received, still encoded
	query   []pair // in the order received
	names   []string
	values  []string // of the signed headers, trimmed
	bare    string   // the host without its port, for variant.bareHost; "" when it has none
	payload string   // hash of the body
	form    string   // hash of the query as a form, for variant.asPayload
}

// newCanonical takes a request apart. body is exactly what was received.
func newCanonical(r *http.Request, body []byte, a *authorization) (*canonical, error) {
	c := &canonical{method: strings.ToUpper(r.Method), path: r.URL.EscapedPath(), names: a.headers, values: make([]string, len(a.headers))}
	for i, name := range a.headers {
		value, there := headerValue(r, name)
		if !there {
			return nil, fmt.Errorf("%w: signed header %s is not there", errUnsigned, clip(name))
		}
		c.values[i] = value
		if name == "host" {
			c.bare = withoutPort(value)
		}
	}
	var err error
	if c.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	c.payload, err = payloadHash(r, body)
	if err == nil && a.format == formatCredential && c.method == http.MethodPost && len(body) == 0 && len(c.query) > 0 && r.Header.Get(contentHash) == "" {
		c.form = hashText([]byte(formEncoded(c.query)))
	}
	return c, err
}

// headerValue is a header as it was received. Go keeps host and content-length elsewhere.
func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return strings.TrimSpace(r.Host), r.Host != ""
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10), r.ContentLength >= 0
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ","), len(r.TransferEncoding) > 0
	}
	values := r.Header.Values(name)
	if len(values) == 1 {
		return strings.TrimSpace(values[0]), true
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.TrimSpace(v)
	}
	return strings.Join(trimmed, ","), len(values) > 0
}

// withoutPort is a host without the port behind it; "" when there is none.
func withoutPort(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 {
		return ""
	}
	if _, err := strconv.ParseUint(host[i+1:], 10, 16); err != nil {
		return ""
	}
	return host[:i]
}

// payloadHash is the last line: the hash of the body, or what the client gives for it when that is true. A body that is JSON
// has to be signed.
func payloadHash(r *http.Request, body []byte) (string, error) {
	actual := hashText(body)
	switch given := strings.TrimSpace(r.Header.Get(contentHash)); {
	case given == "":
		return actual, nil
	case given == unsignedPayload:
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media == "application/json" || strings.HasSuffix(media, "+json") {
			return "", fmt.Errorf("%w: %s is only for content that is not JSON", errUnsigned, unsignedPayload)
		}
		return given, nil
	case !strings.EqualFold(given, actual): // both are public
		return "", fmt.Errorf("%w: %s is not the body's", errUnsigned, contentHash)
	default:
		return given, nil
	}
}

func hashText(b []byte) string {
	sum := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// parseQuery takes a query apart. Like net/url, it takes + for a space; a part without = is a key with an empty value.
func parseQuery(raw string) ([]pair, error) {
	if raw == "" {
		return nil, nil
	}
	if strings.Count(raw, "&") >= maxQueryPairs {
		return nil, fmt.Errorf("%w: more than %d query parameters", errUnsigned, maxQueryPairs)
	}
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%w: the query is not well encoded", errUnsigned)
		}
		pairs = append(pairs, pair{key, value})
	}
	return pairs, nil
}

// formEncoded is the query as net/url writes forms: sorted by key, repeated values in their order.
func formEncoded(pairs []pair) string {
	v := url.Values{}
	for _, p := range pairs {
		v.Add(p.key, p.value)
	}
	return v.Encode()
}

// variants lists the ways in which a client that signs in that format may have made this canonical request; the first is how
// most do. The others are there only when they make a difference.
func (c *canonical) variants(f format) []variant {
	all := make([]variant, 1, 5)
	if strings.Contains(c.encodedQuery(variant{}), "%") {
		all = append(all, variant{byEncoded: true})
	}
	if f != formatCredential {
		return all
	}
	// golangsdk signs one value of a repeated key only. Such a query is not accepted from it: the others would be unsigned.
	if !c.repeats() {
		all = append(all, variant{byEncoded: true, ignoreCase: true})
	}
	if c.bare != "" {
		all = append(all, variant{bareHost: true})
	}
	if c.form != "" {
		all = append(all, variant{ignoreCase: true, asPayload: true})
	}
	return all
}

func (c *canonical) repeats() bool {
	for i, p := range c.query {
		if slices.ContainsFunc(c.query[:i], func(q pair) bool { return q.key == p.key }) {
			return true
		}
	}
	return false
}

// appendTo appends the canonical request.
func (c *canonical) appendTo(b []byte, v variant) []byte {
	b = append(append(b, c.method...), '\n')
	b = append(appendPath(b, c.path), '\n')
	if !v.asPayload {
		b = append(b, c.encodedQuery(v)...)
	}
	b = append(b, '\n')
	for i, name := range c.names {
		value := c.values[i]
		if v.ignoreCase {
			value = strings.Join(strings.Fields(value), " ")
		}
		if v.bareHost && name == "host" {
			value = c.bare
		}
		b = append(append(b, name...), ':')
		b = append(append(b, value...), '\n')
	}
	b = append(b, '\n')
	for i, name := range c.names {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	if v.asPayload {
		return append(b, c.form...)
	}
	return append(b, c.payload...)
}

// appendPath encodes a path anew, whatever the client left unencoded on the wire, and ends it with a slash.
func appendPath(b []byte, path string) []byte {
	b = append(b, '/')
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return b
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			plain = segment
		}
		b = append(appendEncoded(b, plain), '/')
	}
	return b
}

func (c *canonical) encodedQuery(v variant) string {
	if len(c.query) == 0 {
		return ""
	}
	pairs := slices.Clone(c.query)
	if v.byEncoded {
		for i, p := range pairs {
			pairs[i] = pair{string(appendEncoded(nil, p.key)), string(appendEncoded(nil, p.value))}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		if v.ignoreCase {
			return strings.Compare(strings.ToLower(a.key), strings.ToLower(b.key))
		}
		if d := strings.Compare(a.key, b.key); d != 0 {
			return d
		}
		return strings.Compare(a.value, b.value)
	})
	var b []byte
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		if v.byEncoded {
			b = append(append(append(b, p.key...), '='), p.value...)
			continue
		}
		b = append(appendEncoded(b, p.key), '=')
		b = appendEncoded(b, p.value)
	}
	return string(b)
}

// appendEncoded percent-encodes all but letters, digits and - _ . ~
func appendEncoded(b []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		x := text[i]
		if x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || x == '-' || x == '_' || x == '.' || x == '~' {
			b = append(b, x)
		} else {
			b = append(b, '%', digits[x>>4], digits[x&15])
		}
	}
	return b
}
