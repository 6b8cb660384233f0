package rest

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// eachQuery calls visit for every key and value of a query, decoded, in order. Keys without a value have "".
func eachQuery(raw string, visit func(key, value string) error) error {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key, err := plain(key)
		if err != nil {
			return refuse(queue.CodeQuery, "The query is not well encoded: %s.", clip(pair))
		}
		value, err = plain(value)
		if err != nil {
			return refuse(queue.CodeQuery, "The query is not well encoded: %s.", clip(pair))
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

func plain(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// queryKeys are the keys that a call knows; others are passed over. An empty value stands for the default, as if the key
// were not there.
type queryKey struct {
	name string
	set  func(value string) error
	many bool // may stand more than once
}

func readQuery(raw string, keys ...queryKey) error {
	if raw == "" {
		return nil
	}
	var seen uint32
	return eachQuery(raw, func(key, value string) error {
		for i, k := range keys {
			if k.name != key || value == "" {
				continue
			}
			if !k.many && seen&(1<<i) != 0 {
				return refuse(queue.CodeQuery, "The query has %s more than once.", k.name)
			}
			seen |= 1 << i
			return k.set(value)
		}
		return nil
	})
}

// flag is a boolean key. Clients write true and True (DMS reference, section 1).
func flag(name string, into *bool) queryKey {
	return queryKey{name: name, set: func(value string) error {
		switch {
		case strings.EqualFold(value, "true"):
			*into = true
		case strings.EqualFold(value, "false"):
			*into = false
		default:
			return refuse(queue.CodeQuery, "The URL has invalid parameters: %s must be true or false, not %q.", name, clip(value))
		}
		return nil
	}}
}

// within is an integer key with a range; another value is refused with that code.
func within(name string, into *int, least, most, code int) queryKey {
	return queryKey{name: name, set: func(value string) error {
		n, err := decimal(value)
		if err != nil || n < least || n > most {
			return refuse(code, "The value of %s must be an integer from %d to %d, not %q.", name, least, most, clip(value))
		}
		*into = n
		return nil
	}}
}

// decimal reads digits without a sign.
func decimal(s string) (int, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(s)
}

// clip keeps what a client sent from filling an answer.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
