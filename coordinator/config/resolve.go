package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Source says which layer a value came from, with the numbers of DescribeConfigs.
type Source int8

// The sources of DescribeConfigs v1 and up.
const (
	FromTopic         Source = 1
	FromBroker        Source = 2
	FromAllBrokers    Source = 3
	FromStart         Source = 4
	FromDefault       Source = 5
	FromClientMetrics Source = 7
	FromGroup         Source = 8
)

// Layers are the settings that stand behind a resource, the strongest first. Maps are
// read, never written; a nil one is empty.
type Layers struct {
	Own        map[string]string // the topic's, group's or client metrics resource's
	OneBroker  map[string]string // dynamic, this broker
	AllBrokers map[string]string // dynamic, every broker
	Start      map[string]string // flags, environment, file
}

// Synonym is one layer's word on a setting.
type Synonym struct {
	Name   string
	Value  *string
	Source Source
}

// Entry is a setting's effective value with where it comes from.
type Entry struct {
	Key      *Key
	Value    *string // nil: unset, or sensitive
	Source   Source
	Synonyms []Synonym // all layers that have a word, the effective one first
}

// implied is what a new Kafka 4.4 cluster sets for all brokers by itself (KIP-966 turns
// min.insync.replicas into a cluster-wide dynamic setting).
var implied = map[string]string{"min.insync.replicas": "1"}

// unit is a name of a setting, and the ms that its values count.
type unit struct {
	name   string
	millis int64
}

// derived lists, for settings that have older names in larger units, those names.
var derived = map[string][]unit{
	"retention.ms":      {{"log.retention.ms", 1}, {"log.retention.minutes", 60_000}, {"log.retention.hours", 3_600_000}},
	"segment.ms":        {{"log.roll.ms", 1}, {"log.roll.hours", 3_600_000}},
	"segment.jitter.ms": {{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", 3_600_000}},
	"flush.ms":          {{"log.flush.interval.ms", 1}},
}

// Describe is the effective value of one setting of a table.
func (l Layers) Describe(t *Table, k *Key) Entry {
	e := Entry{Key: k, Source: FromDefault}
	add := func(name, value string, from Source) {
		e.Synonyms = append(e.Synonyms, Synonym{name, &value, from})
	}
	if v, ok := l.Own[k.Name]; ok && t.Kind != "broker" {
		add(k.Name, v, ownSource(t))
	}
	var inMillis *string // what older names come to, where no layer has the setting's own
	switch {
	case t.Kind == "broker":
		e.Synonyms = l.wordsOf(namesFrom(k.Name), k)
	case t.Kind == "topic" && derived[k.Name] != nil:
		units := derived[k.Name]
		inMillis = l.millis(units)
		e.Synonyms = append(e.Synonyms, l.wordsOf(namesFrom(units[0].name), nil)...)
	case k.Synonym != "":
		bk, ok := Broker().Key(k.Synonym)
		if !ok {
			bk = &Key{Name: k.Synonym, Default: k.Default}
		}
		l.brokerWords(bk, add)
	}
	if len(e.Synonyms) > 0 {
		e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
	}
	switch {
	case inMillis != nil && e.Source != ownSource(t):
		e.Value = inMillis
	case len(e.Synonyms) == 0 && !k.NoDefault:
		v := k.Default
		e.Value = &v
	}
	if k.Sensitive {
		e.Value = nil
		for i := range e.Synonyms {
			e.Synonyms[i].Value = nil
		}
	}
	return e
}

// namesFrom is a broker setting's name and after it those that speak in its place, in larger units.
func namesFrom(name string) []string {
	for _, units := range derived {
		for i, d := range units {
			if d.name != name {
				continue
			}
			var names []string
			for _, older := range units[i:] {
				names = append(names, older.name)
			}
			return names
		}
	}
	return []string{name}
}

// wordsOf is every layer's word on broker settings that stand for one another, the strongest layer first. As in Kafka, it
// begins with the first of the names: where only others speak, they are not listed. The key is that of the first name, nil to
// have it looked up.
func (l Layers) wordsOf(names []string, k *Key) []Synonym {
	var words []Synonym
	for i, name := range names {
		if i > 0 || k == nil {
			k, _ = Broker().Key(name)
		}
		l.brokerWords(k, func(name, value string, from Source) { words = append(words, Synonym{name, &value, from}) })
	}
	slices.SortStableFunc(words, func(a, b Synonym) int { return cmp.Compare(a.Source, b.Source) })
	first := slices.IndexFunc(words, func(s Synonym) bool { return s.Name == names[0] })
	if first < 0 {
		return nil
	}
	return words[first:]
}

// millis is what the first of the names that is set comes to, nil when none is.
func (l Layers) millis(units []unit) (value *string) {
	for _, d := range units {
		l.brokerWords(&Key{Name: d.name, NoDefault: true}, func(_, v string, _ Source) {
			if value == nil {
				ms := times(v, d.millis)
				value = &ms
			}
		})
	}
	return value
}

// brokerWords passes on every layer's word on a broker setting, the strongest first.
func (l Layers) brokerWords(k *Key, add func(name, value string, from Source)) {
	if v, ok := l.OneBroker[k.Name]; ok {
		add(k.Name, v, FromBroker)
	}
	if v, ok := l.AllBrokers[k.Name]; ok {
		add(k.Name, v, FromAllBrokers)
	} else if v, ok := implied[k.Name]; ok {
		add(k.Name, v, FromAllBrokers)
	}
	if v, ok := l.Start[k.Name]; ok {
		add(k.Name, v, FromStart)
	}
	if !k.NoDefault {
		add(k.Name, k.Default, FromDefault)
	}
}

func ownSource(t *Table) Source {
	switch t.Kind {
	case "group":
		return FromGroup
	case "client-metrics":
		return FromClientMetrics
	}
	return FromTopic
}

func times(value string, unit int64) string {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil || n < 0 {
		return "-1"
	}
	return strconv.FormatInt(n*unit, 10)
}

// value is the effective value of a setting, in canonical form; "" when it has none.
func (l Layers) value(t *Table, name string) string {
	k, ok := t.Key(name)
	if !ok {
		panic("config: no setting " + name) // a name in our own source
	}
	e := l.Describe(t, k)
	if e.Value == nil {
		return ""
	}
	if v, err := k.canonical(*e.Value); err == nil {
		return v
	}
	return *e.Value
}

// BrokerString is an effective broker setting; "" when it has none.
func (l Layers) BrokerString(name string) string { return l.value(Broker(), name) }

// BrokerInt is an effective numeric broker setting; 0 when it has none.
func (l Layers) BrokerInt(name string) int64 {
	n, _ := strconv.ParseInt(l.value(Broker(), name), 10, 64)
	return n
}

// BrokerFloat is an effective broker setting of type double; 0 when it has none.
func (l Layers) BrokerFloat(name string) float64 {
	f, _ := strconv.ParseFloat(l.value(Broker(), name), 64)
	return f
}

// BrokerBool is an effective broker setting of type boolean.
func (l Layers) BrokerBool(name string) bool { return l.value(Broker(), name) == "true" }
