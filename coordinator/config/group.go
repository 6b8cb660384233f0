package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Group is the settings of a group (Kafka's group configuration reference, 4.4). Those that the broker's group.*.min.* and
// group.*.max.* bound have least values besides, whatever those say.
var Group = sync.OnceValue(func() *Table {
	num := func(name, def string, least int64) *Key {
		return &Key{Name: name, Type: Int, Default: def, Synonym: "group." + name, check: atLeast(least)}
	}
	return newTable("group", []*Key{
		num("consumer.assignment.interval.ms", "1000", 0),
		num("consumer.heartbeat.interval.ms", "5000", 1),
		num("consumer.session.timeout.ms", "45000", 1),
		{Name: "errors.deadletterqueue.copy.record.enable", Type: Boolean, Default: "false", Synonym: "errors.deadletterqueue.copy.record.enable"},
		{Name: "errors.deadletterqueue.topic.name", Type: String, Default: "", Synonym: "errors.deadletterqueue.topic.name", check: deadLetterName},
		{Name: "share.acquisition.durable", Type: Boolean, Default: "false", Extension: true,
			Doc: "Whether a lease is on disk before its records leave, so that a restart neither shortens nor forgets it."},
		num("share.assignment.interval.ms", "1000", 0),
		{Name: "share.auto.offset.reset", Type: String, Default: "latest", Synonym: "share.auto.offset.reset", check: shareReset},
		num("share.delivery.count.limit", "5", 2),
		{Name: "share.failure.count.limit", Type: Int, Default: "-1", Extension: true, check: between(-1, 100),
			Doc: "After how many failures (deliveries answered as failed, or not in time) a record is a dead letter; 0: never; -1: share.delivery.count.limit decides, by deliveries."},
		num("share.heartbeat.interval.ms", "5000", 1),
		{Name: "share.isolation.level", Type: String, Default: "read_uncommitted", Synonym: "share.isolation.level",
			check: oneOf("read_committed", "read_uncommitted")},
		{Name: "share.order", Type: String, Default: "none", Extension: true, check: oneOf("none", "partition"),
			Doc: "partition: nothing of a partition is handed out past a record that is not settled."},
		num("share.partition.max.record.locks", "2000", 100),
		num("share.record.lock.duration.ms", "30000", 1000),
		{Name: "share.renew.acknowledge.enable", Type: Boolean, Default: "true", Synonym: "share.renew.acknowledge.enable"},
		{Name: "share.retry.backoff.ms", Type: String, Default: "0", Extension: true, check: retryBackoff,
			Doc: "How long a record waits after a failure: the first time in ms, then times a factor (1), up to a most: initial[,factor[,most]]."},
		num("share.session.timeout.ms", "45000", 1),
		{Name: "share.window.max.records", Type: Int, Default: "0", Extension: true, check: between(0, 100_000),
			Doc: "How many records of a partition may be leased, or settled before an unsettled one; 0: share.partition.max.record.locks."},
		num("streams.assignment.interval.ms", "1000", 0),
		{Name: "streams.assignor.name", Type: String, Default: "sticky", Synonym: "group.streams.assignors"},
		num("streams.heartbeat.interval.ms", "5000", 1),
		num("streams.initial.rebalance.delay.ms", "3000", 0),
		num("streams.num.standby.replicas", "0", 0),
		{Name: "streams.rack.aware.assignment.tags", Type: List, Default: "", Synonym: "group.streams.rack.aware.assignment.tags"},
		num("streams.session.timeout.ms", "45000", 1),
	})
})

// shareReset is earliest, latest or by_duration with an ISO 8601 duration (KIP-1106).
func shareReset(name, value string) error {
	if value == "earliest" || value == "latest" {
		return nil
	}
	if d, ok := strings.CutPrefix(value, "by_duration:"); ok && isoDuration(d) {
		return nil
	}
	return invalidf("Invalid value %s for configuration %s: it must be earliest, latest or by_duration:<ISO 8601 duration>", value, name)
}

// isoDuration tells whether text is a non-negative duration such as PT1H30M or P2DT3S.
func isoDuration(text string) bool {
	rest, ok := strings.CutPrefix(strings.ToUpper(text), "P")
	if !ok || rest == "" {
		return false
	}
	day, clock, hasT := strings.Cut(rest, "T")
	if hasT && clock == "" {
		return false
	}
	return parts(day, "D") && parts(clock, "HMS")
}

// parts tells whether s is numbers each followed by a unit, units in the given order.
func parts(s, units string) bool {
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if i <= 0 {
			return false
		}
		at := strings.IndexByte(units, s[i])
		if at < 0 {
			return false
		}
		if _, err := strconv.ParseFloat(s[:i], 64); err != nil || strings.Contains(s[:i], ".") && s[i] != 'S' {
			return false
		}
		s, units = s[i+1:], units[at+1:]
	}
	return true
}

// ValidateGroup checks a group's own settings, each and together; see [ValidateTopic].
func ValidateGroup(own map[string]string, behind Layers) (map[string]string, error) {
	out, err := parseAll(Group(), own, "Unknown group config name: %s")
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if err := behind.bounded(name, out[name]); err != nil {
			return nil, err
		}
	}
	behind.Own = out
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, _ := strconv.Atoi(behind.value(Group(), kind+".session.timeout.ms"))
		beat, _ := strconv.Atoi(behind.value(Group(), kind+".heartbeat.interval.ms"))
		if session <= beat {
			return nil, invalidf("%s.session.timeout.ms must be greater than %s.heartbeat.interval.ms: %d is not above %d", kind, kind, session, beat)
		}
	}
	return out, nil
}

// bounded checks a group's own setting against the broker's bounds for it, where there are any.
func (l Layers) bounded(name, value string) error {
	kind, rest, _ := strings.Cut(name, ".")
	if kind == "streams" && rest == "num.standby.replicas" {
		rest = "standby.replicas"
	}
	most := "group." + kind + ".max." + rest
	if _, ok := Broker().Key(most); !ok {
		return nil
	}
	lo, least := int64(0), "group."+kind+".min."+rest
	if _, ok := Broker().Key(least); ok {
		lo = l.BrokerInt(least)
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if hi := l.BrokerInt(most); n < lo || n > hi {
		return invalidf("%s must be in the range %d to %d inclusive.", name, lo, hi)
	}
	return nil
}

// deadLetterName refuses the names of internal topics.
func deadLetterName(name, value string) error {
	if strings.HasPrefix(value, "__") {
		return invalidf("%s: DLQ topic name must not start with '__'", name)
	}
	return topicName(name, value)
}

// parseAll checks a set of settings one by one and answers a copy of it. Values stay as
// they were given: who writes one wants to read the same.
func parseAll(t *Table, own map[string]string, unknown string) (map[string]string, error) {
	out := make(map[string]string, len(own))
	for _, name := range slices.Sorted(maps.Keys(own)) { // in order, so that the same fault is named each time
		k, ok := t.Key(name)
		if !ok {
			return nil, invalidf(unknown, name)
		}
		if _, err := k.Parse(own[name]); err != nil {
			return nil, err
		}
		out[name] = own[name]
	}
	return out, nil
}
