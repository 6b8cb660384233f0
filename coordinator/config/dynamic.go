package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// ErrMalformed is an ErrInvalid that Kafka counts as a fault of the request (INVALID_REQUEST) and not of the
// configuration: broker settings that cannot be changed or parsed, and most of client metrics.
var ErrMalformed = errors.New("malformed configuration request")

type malformed struct{ error }

func (m malformed) Unwrap() []error { return []error{ErrMalformed, m.error} }

// ValidateBroker checks what is to be set while brokers run, on one of them or, with
// wide, on all. next is the whole set as it will be, changed the names this change
// sets; it answers a copy of next. Settings nobody knows are kept: a plugin may know
// them. The error is [ErrMalformed].
func ValidateBroker(next map[string]string, changed []string, wide bool) (map[string]string, error) {
	var fixed, single []string
	slices.Sort(changed)
	for _, name := range changed {
		k, known := Broker().Key(name)
		switch {
		case !known:
			continue
		case k.ReadOnly:
			fixed = append(fixed, name)
			continue
		case wide && perBroker(name):
			single = append(single, name)
			continue
		}
		if _, err := k.Parse(next[name]); err != nil {
			return nil, malformed{err}
		}
	}
	switch {
	case len(fixed) > 0:
		return nil, malformed{invalidf("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))}
	case len(single) > 0:
		return nil, malformed{invalidf("Cannot update these configs at default cluster level, broker id must be specified: [%s]", strings.Join(single, ", "))}
	}
	return maps.Clone(next), nil
}

// perBroker tells which settings make sense for one broker only: where it listens and
// the keys it shows there.
func perBroker(name string) bool {
	return name == "listeners" || name == "listener.security.protocol.map" || strings.HasPrefix(name, "ssl.")
}

// CheckPermanent guards the settings that are always set, and the same, for all brokers
// ([Permanent]): they cannot be removed there (wide), nor changed on one broker.
func CheckPermanent(name string, wide, removed bool) error {
	_, permanent := implied[name]
	switch {
	case permanent && !wide:
		return invalidf("Broker-level %s cannot be altered: it has to be the same on all brokers", name)
	case permanent && removed:
		return invalidf("Cluster-level %s cannot be removed: it holds for every topic that has none of its own", name)
	}
	return nil
}

// Permanent lists the settings that are always set for all brokers: KIP-966 needs one
// min.insync.replicas for the whole cluster.
func Permanent() []string {
	var names []string
	for name := range implied {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
