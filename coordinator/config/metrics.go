package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// ClientMetrics is the settings of a client metrics subscription (KIP-714).
var ClientMetrics = sync.OnceValue(func() *Table {
	return newTable("client-metrics", []*Key{
		{Name: "interval.ms", Type: Int, Default: "300000", Inert: true, check: between(100, 3600000)},
		{Name: "match", Type: List, Default: "", Inert: true, check: clientMatch},
		{Name: "metrics", Type: List, Default: "", Inert: true},
	})
})

var matchable = []string{"client_instance_id", "client_id", "client_software_name", "client_software_version",
	"client_source_address", "client_source_port"}

func clientMatch(name, value string) error {
	for _, rule := range Split(value) {
		what, expr, ok := strings.Cut(rule, "=")
		if !ok || !slices.Contains(matchable, strings.TrimSpace(what)) {
			return invalidf("Illegal client matching pattern: %s (in %s)", rule, name)
		}
		if _, err := regexp.Compile(expr); err != nil {
			return invalidf("Unable to compile client matching pattern: %s (in %s)", rule, name)
		}
	}
	return nil
}

// ValidateClientMetrics checks the settings of a subscription; see [ValidateTopic]. A
// name nobody knows and an interval out of bounds are [ErrMalformed].
func ValidateClientMetrics(own map[string]string) (map[string]string, error) {
	for _, name := range slices.Sorted(maps.Keys(own)) {
		k, known := ClientMetrics().Key(name)
		if !known {
			return nil, malformed{invalidf("Unknown client metrics configuration: %s", name)}
		}
		v, err := k.canonical(own[name])
		if err != nil {
			return nil, err
		}
		if k.check == nil {
			continue
		}
		if err := k.check(name, v); name == "match" && err != nil {
			return nil, err
		} else if err != nil {
			return nil, malformed{err}
		}
	}
	return maps.Clone(own), nil
}
