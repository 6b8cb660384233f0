package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ShareSettings is what the broker acts on of a share group's effective settings.
type ShareSettings struct {
	LockDuration      time.Duration // of a lease
	DeliveryLimit     int           // by deliveries; only where FailureLimit is negative
	FailureLimit      int           // by failures; 0: none, negative: DeliveryLimit decides
	MaxRecords        int           // of a partition's window
	CountSettled      bool          // what is settled behind an unsettled record fills the window too: it is Kafka's limit
	Durable           bool          // leases are on disk before their records leave
	Ordered           bool          // nothing past an unsettled record
	ReadCommitted     bool
	Renew             bool // leases may be renewed
	Backoff           Backoff
	Reset             Reset // where a group without a position begins
	DeadLetterTopic   string
	DeadLetterCopy    bool // the record itself goes to the dead letters, not only where it was
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
}

// Reset is a share.auto.offset.reset: exactly one of its members is set.
type Reset struct {
	Earliest, Latest bool
	By               time.Duration // before now
}

// Backoff is a share.retry.backoff.ms.
type Backoff struct {
	Initial, Most time.Duration // Most 0: no bound but a day
	Factor        float64
}

// longestBackoff bounds every back-off.
const longestBackoff = 24 * time.Hour

// After is how long a record waits that has failed so often (1 the first time).
func (b Backoff) After(failures int32) time.Duration {
	if b.Initial <= 0 || failures < 1 {
		return 0
	}
	most := longestBackoff
	if b.Most > 0 {
		most = min(most, b.Most)
	}
	wait := float64(b.Initial) * math.Pow(max(b.Factor, 1), float64(failures-1))
	if wait >= float64(most) { // infinity too
		return most
	}
	return time.Duration(wait)
}

// ParseBackoff reads initial[,factor[,most]], times in whole ms, the factor 1 to 100.
func ParseBackoff(value string) (Backoff, error) {
	bad := func() (Backoff, error) {
		return Backoff{}, invalidf("Invalid value %s for configuration share.retry.backoff.ms: it must be initial[,factor[,most]], times in ms up to a day, the factor 1 to 100", value)
	}
	parts := strings.Split(value, ",")
	if len(parts) > 3 {
		return bad()
	}
	var times [3]time.Duration
	b := Backoff{Factor: 1}
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if i == 1 {
			f, err := strconv.ParseFloat(part, 64)
			if err != nil || !(f >= 1 && f <= 100) {
				return bad()
			}
			b.Factor = f
			continue
		}
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 0 || n > longestBackoff.Milliseconds() {
			return bad()
		}
		times[i] = time.Duration(n) * time.Millisecond
	}
	b.Initial, b.Most = times[0], times[2]
	if b.Most > 0 && b.Most < b.Initial {
		return bad()
	}
	return b, nil
}

func retryBackoff(_, value string) error {
	_, err := ParseBackoff(value)
	return err
}

// Share is the effective settings of a share group whose own ones are l.Own.
func (l Layers) Share() ShareSettings {
	str := func(name string) string { return l.value(Group(), name) }
	num := func(name string) int {
		n, _ := strconv.Atoi(str(name))
		return n
	}
	millis := func(name string) time.Duration { return time.Duration(num(name)) * time.Millisecond }
	s := ShareSettings{
		LockDuration: millis("share.record.lock.duration.ms"), SessionTimeout: millis("share.session.timeout.ms"),
		HeartbeatInterval: millis("share.heartbeat.interval.ms"),
		DeliveryLimit:     num("share.delivery.count.limit"), FailureLimit: num("share.failure.count.limit"),
		MaxRecords: num("share.window.max.records"),
		Durable:    str("share.acquisition.durable") == "true", Ordered: str("share.order") == "partition",
		ReadCommitted: str("share.isolation.level") == "read_committed", Renew: str("share.renew.acknowledge.enable") == "true",
		DeadLetterTopic: str("errors.deadletterqueue.topic.name"), DeadLetterCopy: str("errors.deadletterqueue.copy.record.enable") == "true",
	}
	if s.MaxRecords == 0 {
		s.MaxRecords, s.CountSettled = num("share.partition.max.record.locks"), true
	}
	s.Backoff, _ = ParseBackoff(str("share.retry.backoff.ms"))
	switch reset := str("share.auto.offset.reset"); {
	case reset == "earliest":
		s.Reset.Earliest = true
	case strings.HasPrefix(reset, "by_duration:"):
		s.Reset.By = parseISODuration(strings.TrimPrefix(reset, "by_duration:"))
	default:
		s.Reset.Latest = true
	}
	return s
}

// parseISODuration reads what isoDuration lets through; more than a Duration holds is the longest there is.
func parseISODuration(text string) time.Duration {
	day, clock, _ := strings.Cut(strings.TrimPrefix(strings.ToUpper(text), "P"), "T")
	total := 0.0
	for _, part := range []struct{ text, units string }{{day, "D"}, {clock, "HMS"}} {
		rest := part.text
		for rest != "" {
			i := strings.IndexAny(rest, part.units)
			if i < 0 {
				return 0
			}
			n, _ := strconv.ParseFloat(rest[:i], 64)
			total += n * map[byte]float64{'D': 86400, 'H': 3600, 'M': 60, 'S': 1}[rest[i]]
			rest = rest[i+1:]
		}
	}
	if total >= float64(math.MaxInt64)/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(total * float64(time.Second))
}
