package rest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// nextQuery takes the first key with its value off a query, decoded. A key without a value has "", and so has no key.
func nextQuery(raw string) (key, value, rest string, err error) {
	pair, rest, _ := strings.Cut(raw, "&")
	key, value, _ = strings.Cut(pair, "=")
	if key, err = plain(key); err == nil {
		value, err = plain(value)
	}
	if err != nil {
		return "", "", "", refuse(queue.CodeQuery, "The URL has invalid parameters: %s is not well encoded.", clip(pair))
	}
	return key, value, rest, nil
}

func plain(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// readQuery reads the keys that a call knows; set is called for them with their place in names, others are passed over. An
// empty value stands for the default, as if the key were not there. A key may stand once unless its place is below many.
func readQuery(raw string, many int, names []string, set func(at int, value string) error) error {
	seen := uint32(0)
	for raw != "" {
		key, value, rest, err := nextQuery(raw)
		if err != nil {
			return err
		}
		raw = rest
		at := slices.Index(names, key)
		if at < 0 || value == "" {
			continue
		}
		if at >= many && seen&(1<<at) != 0 {
			return refuse(queue.CodeQuery, "The URL has invalid parameters: %s stands more than once.", key)
		}
		seen |= 1 << at
		if err := set(at, value); err != nil {
			return err
		}
	}
	return nil
}

// flag reads a boolean. Clients write true and True (DMS reference, section 1).
func flag(name, value string) (bool, error) {
	switch {
	case strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, refuse(queue.CodeQuery, "The URL has invalid parameters: %s must be true or false, not %q.", name, clip(value))
}

// readFlags reads a query of booleans.
func readFlags(raw string, names []string, into ...*bool) error {
	return readQuery(raw, 0, names, func(at int, value string) (err error) {
		*into[at], err = flag(names[at], value)
		return err
	})
}

// within reads an integer with a range; another value is refused with that code.
func within(name, value string, least, most, code int) (int, error) {
	n, err := decimal(value)
	if err != nil || n < least || n > most {
		return 0, refuse(code, "The value of %s must be an integer from %d to %d, not %q.", name, least, most, clip(value))
	}
	return n, nil
}

// decimal reads digits without a sign.
func decimal(s string) (int, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, err
	}
	return n, nil
}

// clip keeps what a client sent from filling an answer.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
