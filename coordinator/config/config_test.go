package config

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTablesAreSound(t *testing.T) {
	for _, table := range []*Table{Topic(), Broker(), Group(), ClientMetrics()} {
		for _, k := range table.Keys() {
			if k.NoDefault {
				continue
			}
			got, err := k.Parse(k.Default)
			require.NoError(t, err, "%s %s", table.Kind, k.Name)
			require.Equal(t, k.Default, got, "%s %s: the default in canonical form", table.Kind, k.Name)
			if k.Synonym != "" && table.Kind == "topic" {
				b, ok := Broker().Key(k.Synonym)
				require.True(t, ok, "%s has no broker setting %s", k.Name, k.Synonym)
				require.Equal(t, k.Type, b.Type, k.Name)
			}
		}
	}
	require.Len(t, Topic().Keys(), 37)
	require.Len(t, Broker().Keys(), 350)
	ours := 0
	for _, k := range Group().Keys() {
		if k.Extension {
			ours++
		}
	}
	require.Equal(t, 21, len(Group().Keys())-ours)
	for name := range live {
		_, ok := Broker().Key(name)
		require.True(t, ok, "no broker setting %s", name)
	}
	for name := range bounds {
		_, ok := Broker().Key(name)
		require.True(t, ok, "no broker setting %s", name)
	}
}

func TestValuesAreCheckedAsKafkaDoes(t *testing.T) {
	for _, c := range []struct {
		table             *Table
		key, value, canon string // canon "" = refused
	}{
		{Topic(), "retention.ms", " 100 ", "100"}, {Topic(), "retention.ms", "-1", "-1"}, {Topic(), "retention.ms", "-2", ""},
		{Topic(), "retention.ms", "abc", ""}, {Topic(), "max.message.bytes", "2147483648", ""},
		{Topic(), "cleanup.policy", "compact, delete", "compact,delete"}, {Topic(), "cleanup.policy", "melt", ""},
		{Topic(), "cleanup.policy", "compact,compact", "compact,compact"}, {Topic(), "cleanup.policy", "", ""},
		{Topic(), "segment.bytes", "1048575", ""}, {Topic(), "segment.bytes", "1048576", "1048576"},
		{Topic(), "min.cleanable.dirty.ratio", "1", "1.0"}, {Topic(), "min.cleanable.dirty.ratio", "1.1", ""},
		{Topic(), "preallocate", "TRUE", "true"}, {Topic(), "preallocate", "yes", ""},
		{Topic(), "compression.gzip.level", "0", ""}, {Topic(), "compression.gzip.level", "-1", "-1"},
		{Topic(), "leader.replication.throttled.replicas", "*", "*"}, {Topic(), "leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2"},
		{Topic(), "leader.replication.throttled.replicas", "x", ""}, {Topic(), "remote.storage.enable", "true", ""},
		{Group(), "share.auto.offset.reset", "by_duration:PT1H", "by_duration:PT1H"}, {Group(), "share.auto.offset.reset", "by_duration:1H", ""},
		{Group(), "share.auto.offset.reset", "by_duration:P1DT2.5S", "by_duration:P1DT2.5S"}, {Group(), "share.auto.offset.reset", "by_duration:PT", ""},
		{ClientMetrics(), "match", "client_id=x.*", "client_id=x.*"}, {ClientMetrics(), "match", "colour=red", ""}, {ClientMetrics(), "match", "client_id=(", ""},
	} {
		k, ok := c.table.Key(c.key)
		require.True(t, ok, c.key)
		got, err := k.Parse(c.value)
		if c.canon == "" && c.value != "" {
			require.ErrorIs(t, err, ErrInvalid, "%s=%q", c.key, c.value)
			continue
		}
		require.NoError(t, err, "%s=%q", c.key, c.value)
		require.Equal(t, c.canon, got, "%s=%q", c.key, c.value)
	}
}

func TestTheStrongestLayerWins(t *testing.T) {
	k, _ := Topic().Key("max.message.bytes")
	l := Layers{}
	steps := []struct {
		set    func()
		value  string
		source Source
		words  int
	}{
		{func() {}, "1048588", FromDefault, 1},
		{func() { l.Start = map[string]string{"message.max.bytes": "1"} }, "1", FromStart, 2},
		{func() { l.AllBrokers = map[string]string{"message.max.bytes": "2"} }, "2", FromAllBrokers, 3},
		{func() { l.OneBroker = map[string]string{"message.max.bytes": "3"} }, "3", FromBroker, 4},
		{func() { l.Own = map[string]string{"max.message.bytes": "4"} }, "4", FromTopic, 5},
	}
	for _, s := range steps {
		s.set()
		e := l.Describe(Topic(), k)
		require.Equal(t, s.value, *e.Value)
		require.Equal(t, s.source, e.Source)
		require.Len(t, e.Synonyms, s.words)
	}
}

func TestOlderNamesInLargerUnits(t *testing.T) {
	require.Equal(t, int64(604800000), Layers{}.Topic().RetentionMs)
	require.Equal(t, int64(3600000), Layers{Start: map[string]string{"log.retention.hours": "1"}}.Topic().RetentionMs)
	both := Layers{Start: map[string]string{"log.retention.hours": "1", "log.retention.ms": "5"}}
	require.Equal(t, int64(5), both.Topic().RetentionMs)
	require.Equal(t, int64(-1), Layers{Start: map[string]string{"log.retention.hours": "-1"}}.Topic().RetentionMs)
}

// What was written is what is read back, while the broker acts on what it means.
func TestValuesStayAsTheyWereGiven(t *testing.T) {
	own, err := ValidateTopic(map[string]string{"cleanup.policy": " compact , delete ", "retention.ms": " 5 ", "preallocate": "TRUE"}, Layers{})
	require.NoError(t, err)
	l := Layers{Own: own}
	k, _ := Topic().Key("cleanup.policy")
	require.Equal(t, " compact , delete ", *l.Describe(Topic(), k).Value)
	require.True(t, l.Topic().Compact)
	require.True(t, l.Topic().Delete)
	require.Equal(t, int64(5), l.Topic().RetentionMs)
}

func TestDefaultIsSyncedBeforeAcknowledged(t *testing.T) {
	require.Equal(t, int64(1), Layers{}.Topic().FlushMessages)
	require.True(t, Layers{}.Topic().Delete)
	require.False(t, Layers{}.Topic().Compact)
}

func TestSettingsThatContradictEachOther(t *testing.T) {
	_, err := ValidateTopic(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, Layers{})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = ValidateTopic(map[string]string{"no.such": "1"}, Layers{})
	require.ErrorContains(t, err, "no.such")
	_, err = ValidateGroup(map[string]string{"consumer.heartbeat.interval.ms": "60000"}, Layers{})
	require.ErrorIs(t, err, ErrInvalid)
	own, err := ValidateGroup(map[string]string{"consumer.session.timeout.ms": "50000"}, Layers{})
	require.NoError(t, err)
	require.Equal(t, "50000", own["consumer.session.timeout.ms"])
}

func TestGroupSettingsKeepTheBrokersBounds(t *testing.T) {
	lock := func(ms string) map[string]string { return map[string]string{"share.record.lock.duration.ms": ms} }
	_, err := ValidateGroup(lock("2000"), Layers{})
	require.ErrorIs(t, err, ErrInvalid)
	require.EqualError(t, err, "share.record.lock.duration.ms must be in the range 15000 to 60000 inclusive.")

	wide := Layers{Start: map[string]string{"group.share.min.record.lock.duration.ms": "2000", "group.share.max.record.lock.duration.ms": "90000"}}
	for ms, good := range map[string]bool{"1999": false, "2000": true, "90000": true, "90001": false} {
		_, err := ValidateGroup(lock(ms), wide)
		require.Equal(t, good, err == nil, ms)
	}
	wide.Start["group.share.min.record.lock.duration.ms"] = "1"
	_, err = ValidateGroup(lock("999"), wide)
	require.ErrorContains(t, err, "Value must be at least 1000")

	for name, value := range map[string]string{"streams.num.standby.replicas": "3", "share.delivery.count.limit": "11", "consumer.heartbeat.interval.ms": "15001"} {
		_, err := ValidateGroup(map[string]string{name: value}, Layers{})
		require.ErrorContains(t, err, name+" must be in the range", name)
	}
}

func TestInternalTopicsTakeNoDeadLetters(t *testing.T) {
	_, err := ValidateGroup(map[string]string{"errors.deadletterqueue.topic.name": "__consumer_offsets"}, Layers{})
	require.EqualError(t, err, "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'")
	_, err = ValidateGroup(map[string]string{"errors.deadletterqueue.topic.name": "dlq.orders"}, Layers{})
	require.NoError(t, err)
}

func TestSensitiveValuesAreNeverShown(t *testing.T) {
	k, _ := Broker().Key("sasl.jaas.config")
	e := Layers{Start: map[string]string{"sasl.jaas.config": "secret"}}.Describe(Broker(), k)
	require.Nil(t, e.Value)
	require.Nil(t, e.Synonyms[0].Value)
}

// Settings with older names in larger units are listed as Kafka lists them: from the setting's own name on.
func TestOlderNamesStandBehindASetting(t *testing.T) {
	show := func(l Layers, table *Table, name string) string {
		k, known := table.Key(name)
		require.True(t, known, name)
		e := l.Describe(table, k)
		out := "none"
		if e.Value != nil {
			out = *e.Value
		}
		out += fmt.Sprint(" from ", int(e.Source), ":")
		for _, s := range e.Synonyms {
			out += fmt.Sprint(" ", s.Name, "=", *s.Value, "/", int(s.Source))
		}
		return out
	}
	var l Layers
	require.Equal(t, "604800000 from 5:", show(l, Topic(), "retention.ms"))
	require.Equal(t, "none from 5:", show(l, Broker(), "log.retention.ms"))
	require.Equal(t, "168 from 5: log.retention.hours=168/5", show(l, Broker(), "log.retention.hours"))
	l.Start = map[string]string{"log.retention.hours": "3"}
	require.Equal(t, "10800000 from 5:", show(l, Topic(), "retention.ms"))
	l.AllBrokers = map[string]string{"log.retention.ms": "-2", "log.roll.ms": "70000"}
	require.Equal(t, "-1 from 3: log.retention.ms=-2/3 log.retention.hours=3/4 log.retention.hours=168/5", show(l, Topic(), "retention.ms"))
	require.Equal(t, "-2 from 3: log.retention.ms=-2/3 log.retention.hours=3/4 log.retention.hours=168/5", show(l, Broker(), "log.retention.ms"))
	require.Equal(t, "70000 from 3: log.roll.ms=70000/3 log.roll.hours=168/5", show(l, Topic(), "segment.ms"))
	l.OneBroker = map[string]string{"log.retention.ms": "90000"}
	l.Own = map[string]string{"segment.ms": "5"}
	require.Equal(t, "90000 from 2: log.retention.ms=90000/2 log.retention.ms=-2/3 log.retention.hours=3/4 log.retention.hours=168/5", show(l, Topic(), "retention.ms"))
	require.Equal(t, "5 from 1: segment.ms=5/1 log.roll.ms=70000/3 log.roll.hours=168/5", show(l, Topic(), "segment.ms"))
}
