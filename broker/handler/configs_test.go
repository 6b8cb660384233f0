package handler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

const (
	ofTopic   = kmsg.ConfigResourceTypeTopic
	ofBroker  = kmsg.ConfigResourceTypeBroker
	ofLogger  = kmsg.ConfigResourceTypeBrokerLogger
	ofMetrics = kmsg.ConfigResourceTypeClientMetrics
	ofGroup   = kmsg.ConfigResourceTypeGroupConfig
)

// Operations of IncrementalAlterConfigs.
const (
	set, del, add, sub = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
)

func op(kind kmsg.IncrementalAlterConfigOp, name, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	o := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	o.Op, o.Name, o.Value = kind, name, &value
	return o
}

// alter answers code and message of an incremental change.
func (f *fixture) alter(kind kmsg.ConfigResourceType, name string, ops ...kmsg.IncrementalAlterConfigsRequestResourceConfig) string {
	f.t.Helper()
	req := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
	rr := kmsg.NewIncrementalAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.Configs = kind, name, ops
	req.Resources = append(req.Resources, rr)
	r := do[*kmsg.IncrementalAlterConfigsResponse](f, req)
	require.Len(f.t, r.Resources, 1)
	require.Equal(f.t, kind, r.Resources[0].ResourceType)
	require.Equal(f.t, name, r.Resources[0].ResourceName)
	return strings.TrimSpace(named(r.Resources[0].ErrorCode) + " " + strings.TrimPrefix(text(r.Resources[0].ErrorMessage), "<null>"))
}

// replace is alter by AlterConfigs.
func (f *fixture) replace(kind kmsg.ConfigResourceType, name string, nameValue ...string) string {
	f.t.Helper()
	req := at(2, kmsg.NewPtrAlterConfigsRequest())
	rr := kmsg.NewAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kind, name
	for i := 0; i < len(nameValue); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = nameValue[i], &nameValue[i+1]
		rr.Configs = append(rr.Configs, c)
	}
	req.Resources = append(req.Resources, rr)
	r := do[*kmsg.AlterConfigsResponse](f, req)
	return strings.TrimSpace(named(r.Resources[0].ErrorCode) + " " + strings.TrimPrefix(text(r.Resources[0].ErrorMessage), "<null>"))
}

func askConfigs(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := at(4, kmsg.NewPtrDescribeConfigsRequest())
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.ConfigNames = kind, name, keys
	req.Resources = append(req.Resources, rr)
	return req
}

// value is what a described setting shows, with its source.
func (f *fixture) value(kind kmsg.ConfigResourceType, name, key string) string {
	f.t.Helper()
	r := do[*kmsg.DescribeConfigsResponse](f, askConfigs(kind, name, key))
	if len(r.Resources[0].Configs) == 0 {
		return "not listed"
	}
	c := r.Resources[0].Configs[0]
	return fmt.Sprintf("%s from %d", text(c.Value), c.Source)
}

func TestIncrementalChangesOfATopic(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1, "max.message.bytes", "5000")
	noValue := op(set, "retention.ms", "1")
	noValue.Value = nil
	type ops = []kmsg.IncrementalAlterConfigsRequestResourceConfig
	for _, c := range []struct {
		ops       ops
		answer    string // a prefix of code and message
		key, want string
	}{
		{ops{op(set, "retention.ms", " 100 ")}, "", "retention.ms", " 100  from 1"},
		{ops{op(set, "retention.ms", "100")}, "", "retention.ms", "100 from 1"},
		{ops{op(add, "cleanup.policy", "compact")}, "", "cleanup.policy", "delete,compact from 1"},
		{ops{op(add, "cleanup.policy", "compact")}, "", "cleanup.policy", "delete,compact from 1"},
		{ops{op(sub, "cleanup.policy", "delete")}, "", "cleanup.policy", "compact from 1"},
		{ops{op(sub, "cleanup.policy", "delete")}, "", "cleanup.policy", "compact from 1"},
		{ops{op(sub, "cleanup.policy", "compact")}, "", "cleanup.policy", " from 1"},
		{ops{op(del, "cleanup.policy", "")}, "", "cleanup.policy", "delete from 5"},
		{ops{op(del, "segment.bytes", "")}, "", "segment.bytes", "1073741824 from 5"},
		{ops{op(add, "retention.ms", "1")}, "INVALID_CONFIG Can't APPEND to key retention.ms", "retention.ms", "100 from 1"},
		{ops{op(sub, "retention.ms", "1")}, "INVALID_CONFIG Can't SUBTRACT to key retention.ms", "retention.ms", "100 from 1"},
		{ops{op(9, "retention.ms", "1")}, "UNKNOWN_SERVER_ERROR", "retention.ms", "100 from 1"},
		{ops{op(-1, "retention.ms", "1")}, "UNKNOWN_SERVER_ERROR", "retention.ms", "100 from 1"},
		{ops{op(set, "no.such", "1")}, "INVALID_CONFIG Unknown topic config name: no.such", "no.such", "not listed"},
		{ops{op(del, "no.such", "")}, "", "no.such", "not listed"},
		{ops{op(set, "retention.ms", "200"), op(set, "max.message.bytes", "abc")}, "INVALID_CONFIG Invalid value abc", "retention.ms", "100 from 1"},
		{ops{op(set, "retention.ms", "1"), op(del, "retention.ms", "")}, "INVALID_REQUEST Error due to duplicate config keys", "retention.ms", "100 from 1"},
		{ops{noValue}, "INVALID_REQUEST Null value not supported for : retention.ms", "retention.ms", "100 from 1"},
		{nil, "", "max.message.bytes", "5000 from 1"},
	} {
		got := f.alter(ofTopic, "t", c.ops...)
		require.True(t, strings.HasPrefix(got, c.answer) && (c.answer != "" || got == ""), "%v: %s", c.ops, got)
		require.Equal(t, c.want, f.value(ofTopic, "t", c.key))
	}
}

func TestChangesOnlyValidated(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	req := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
	req.ValidateOnly = true
	for _, value := range []string{"100", "abc"} {
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = ofTopic, "t"
		rr.Configs = append(rr.Configs, op(set, "retention.ms", value))
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{rr}
		r := do[*kmsg.IncrementalAlterConfigsResponse](f, req)
		require.Equal(t, value == "abc", r.Resources[0].ErrorCode != 0)
	}
	require.Equal(t, "604800000 from 5", f.value(ofTopic, "t", "retention.ms"))
}

func TestAlterConfigsReplacesEverything(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1, "max.message.bytes", "5000")
	require.Empty(t, f.replace(ofTopic, "t", "retention.ms", "100"))
	require.Equal(t, "100 from 1", f.value(ofTopic, "t", "retention.ms"))
	require.Equal(t, "1048588 from 5", f.value(ofTopic, "t", "max.message.bytes"))
	require.Contains(t, f.replace(ofTopic, "t", "retention.ms", "1", "retention.ms", "2"), "INVALID_REQUEST Error due to duplicate")
	require.Contains(t, f.replace(ofTopic, "t", "retention.ms", "-2"), "INVALID_CONFIG")
	require.Contains(t, f.replace(ofLogger, "1", "root", "INFO"), "INVALID_REQUEST Unknown resource type 8")
	require.Contains(t, f.replace(ofBroker, "", "log.cleaner.threads", "1"), "INVALID_CONFIG Cluster-level min.insync.replicas cannot be removed")
	require.Contains(t, f.replace(ofBroker, "1", "min.insync.replicas", "1"), "INVALID_CONFIG Broker-level min.insync.replicas cannot be altered")
	require.Empty(t, f.replace(ofBroker, "", "log.cleaner.threads", "1", "min.insync.replicas", "1"))
	require.Empty(t, f.replace(ofTopic, "t"))
	require.Nil(t, f.cluster.Image().Config("topic", "t"))
}

func TestResourcesThatCannotBeChanged(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	for _, c := range []struct {
		kind   kmsg.ConfigResourceType
		name   string
		answer string
	}{
		{ofTopic, "none", "UNKNOWN_TOPIC_OR_PARTITION The topic 'none' does not exist."},
		{ofTopic, "a b", "INVALID_TOPIC_EXCEPTION"},
		{ofTopic, "", "INVALID_REQUEST Default topic resources"},
		{ofGroup, "", "INVALID_REQUEST Default group resources"},
		{ofMetrics, "", "INVALID_REQUEST"},
		{ofBroker, "77", "INVALID_REQUEST Unexpected broker id, expected 1"},
		{ofBroker, "abc", "INVALID_REQUEST Node id must be an integer"},
		{99, "x", "INVALID_REQUEST Unknown resource type 99"},
		{0, "x", "INVALID_REQUEST Unknown resource type 0"},
	} {
		require.Contains(t, f.alter(c.kind, c.name, op(set, "retention.ms", "1")), c.answer)
		require.Contains(t, f.replace(c.kind, c.name, "retention.ms", "1"), c.answer)
	}
}

func TestAResourceNamedTwiceIsLeftAlone(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	f.topic("u", 1)
	req := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
	for _, name := range []string{"t", "u", "t"} {
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = ofTopic, name
		rr.Configs = append(rr.Configs, op(set, "retention.ms", "5"))
		req.Resources = append(req.Resources, rr)
	}
	r := do[*kmsg.IncrementalAlterConfigsResponse](f, req)
	require.Len(t, r.Resources, 3)
	for i, want := range []string{"INVALID_REQUEST", "", "INVALID_REQUEST"} {
		require.Equal(t, want, named(r.Resources[i].ErrorCode))
	}
	require.Equal(t, "604800000 from 5", f.value(ofTopic, "t", "retention.ms"))
	require.Equal(t, "5 from 1", f.value(ofTopic, "u", "retention.ms"))
}

func TestBrokerSettings(t *testing.T) {
	f := newFixture(t, withSettings("num.partitions", "2"))
	f.topic("t", 1)
	for key, want := range map[string]string{"num.partitions": "2 from 4", "node.id": "1 from 4", "broker.rack": "r1 from 4",
		"advertised.listeners": "PLAINTEXT://here:9092,OTHER://there:9093 from 4"} {
		require.Equal(t, want, f.value(ofBroker, "1", key))
	}
	require.Empty(t, f.alter(ofBroker, "", op(set, "message.max.bytes", "2000000")))
	require.Equal(t, "2000000 from 3", f.value(ofBroker, "1", "message.max.bytes"))
	require.Equal(t, "2000000 from 3", f.value(ofTopic, "t", "max.message.bytes"))
	require.Empty(t, f.alter(ofBroker, "1", op(set, "message.max.bytes", "2500000")))
	require.Equal(t, "2500000 from 2", f.value(ofBroker, "1", "message.max.bytes"))
	require.Equal(t, "2500000 from 2", f.value(ofTopic, "t", "max.message.bytes"))
	require.Equal(t, "2000000 from 3", f.value(ofBroker, "", "message.max.bytes"))
	require.Empty(t, f.alter(ofBroker, "1", op(del, "message.max.bytes", "")))
	require.Empty(t, f.alter(ofBroker, "", op(del, "message.max.bytes", "")))
	require.Equal(t, "1048588 from 5", f.value(ofBroker, "1", "message.max.bytes"))
	require.Equal(t, "not listed", f.value(ofBroker, "", "message.max.bytes"))
	require.Equal(t, "1 from 3", f.value(ofBroker, "", "min.insync.replicas"))

	require.Contains(t, f.alter(ofBroker, "", op(set, "broker.id", "5")), "INVALID_REQUEST Cannot update these configs dynamically: [broker.id]")
	require.Contains(t, f.alter(ofBroker, "1", op(set, "log.dirs", "x")), "INVALID_REQUEST Cannot update these configs dynamically: [log.dirs]")
	require.Contains(t, f.alter(ofBroker, "", op(set, "message.max.bytes", "abc")), "INVALID_REQUEST Invalid value abc")
	require.Contains(t, f.alter(ofBroker, "", op(del, "min.insync.replicas", "")), "INVALID_CONFIG Cluster-level")
	require.Contains(t, f.alter(ofBroker, "1", op(set, "min.insync.replicas", "1")), "INVALID_CONFIG Broker-level")

	require.Empty(t, f.alter(ofBroker, "", op(set, "no.such.key", "secret")))
	require.Equal(t, "<null> from 3", f.value(ofBroker, "", "no.such.key"), "kept, and not shown: it may be a secret")
	require.Empty(t, f.alter(ofBroker, "", op(del, "no.such.key", "")))
	require.Equal(t, "not listed", f.value(ofBroker, "", "no.such.key"))
}

func TestGroupAndClientMetricsSettings(t *testing.T) {
	f := newFixture(t)
	require.Empty(t, f.alter(ofGroup, "g", op(set, "consumer.session.timeout.ms", "50000")))
	require.Contains(t, f.alter(ofGroup, "g", op(set, "consumer.session.timeout.ms", "1")), "INVALID_CONFIG")
	require.Contains(t, f.alter(ofGroup, "g", op(set, "share.auto.offset.reset", "melt")), "INVALID_CONFIG")
	require.Contains(t, f.alter(ofGroup, "g", op(set, "no.such", "1")), "INVALID_CONFIG Unknown group config name")
	require.Equal(t, "50000 from 8", f.value(ofGroup, "g", "consumer.session.timeout.ms"))
	require.Equal(t, "45000 from 5", f.value(ofGroup, "other", "consumer.session.timeout.ms"))

	require.Empty(t, f.alter(ofMetrics, "m", op(set, "interval.ms", "60000"), op(set, "match", "client_id=x")))
	require.Contains(t, f.alter(ofMetrics, "m", op(set, "interval.ms", "1")), "INVALID_REQUEST")
	require.Contains(t, f.alter(ofMetrics, "m", op(set, "no.such", "1")), "INVALID_REQUEST")
	require.Contains(t, f.alter(ofMetrics, "m", op(set, "match", "colour=red")), "INVALID_CONFIG")
	require.Equal(t, "60000 from 7", f.value(ofMetrics, "m", "interval.ms"))
}

func TestTheBrokersLogLevel(t *testing.T) {
	level := zap.NewAtomicLevel()
	f := newFixture(t, func(d *Deps) { d.LogLevel = &level })
	require.Equal(t, "INFO from 6", f.value(ofLogger, "1", "root"))
	require.Empty(t, f.alter(ofLogger, "1", op(set, "root", "DEBUG")))
	require.Equal(t, zap.DebugLevel, level.Level())
	require.Contains(t, f.alter(ofLogger, "1", op(set, "no.such.logger", "INFO")), "INVALID_CONFIG Logger no.such.logger does not exist!")
	require.Contains(t, f.alter(ofLogger, "1", op(set, "root", "LOUD")), "INVALID_CONFIG Cannot set the log level")
	require.Contains(t, f.alter(ofLogger, "1", op(set, "root", "info")), "INVALID_CONFIG Cannot set the log level")
	require.Contains(t, f.alter(ofLogger, "1", op(del, "root", "")), "INVALID_REQUEST")
	require.Contains(t, f.alter(ofLogger, "77", op(set, "root", "INFO")), "INVALID_REQUEST")
	require.Equal(t, "not listed", f.value(ofLogger, "1", "no.such.logger"))
	require.Equal(t, zap.DebugLevel, level.Level())
}

func TestDescribeConfigsErrors(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		kind kmsg.ConfigResourceType
		name string
		code string
	}{
		{ofTopic, "none", "UNKNOWN_TOPIC_OR_PARTITION"}, {ofTopic, "a b", "INVALID_TOPIC_EXCEPTION"}, {ofTopic, "", "INVALID_TOPIC_EXCEPTION"},
		{ofBroker, "77", "INVALID_REQUEST"}, {ofBroker, "abc", "INVALID_REQUEST"}, {99, "x", "INVALID_REQUEST"}, {0, "x", "INVALID_REQUEST"},
		{ofLogger, "77", "INVALID_REQUEST"}, {ofLogger, "", "INVALID_REQUEST"}, {ofGroup, "", "INVALID_REQUEST"}, {ofMetrics, "", "INVALID_REQUEST"},
	} {
		r := do[*kmsg.DescribeConfigsResponse](f, askConfigs(c.kind, c.name)).Resources[0]
		require.Equal(t, c.code, named(r.ErrorCode), "%d %s", c.kind, c.name)
		require.NotNil(t, r.ErrorMessage)
		require.Equal(t, c.kind, r.ResourceType)
	}
}

func TestDescribeConfigsListsEverythingWithItsLayers(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1, "cleanup.policy", "compact")
	req := askConfigs(ofTopic, "t")
	req.Resources[0].ConfigNames = nil
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	r := do[*kmsg.DescribeConfigsResponse](f, req).Resources[0]
	require.Len(t, r.Configs, 37)
	for _, c := range r.Configs {
		require.NotZero(t, c.ConfigType, c.Name)
		require.NotNil(t, c.Documentation, c.Name)
		if c.Name != "cleanup.policy" {
			continue
		}
		require.Len(t, c.ConfigSynonyms, 2)
		require.Equal(t, "log.cleanup.policy", c.ConfigSynonyms[1].Name)
	}
	all := do[*kmsg.DescribeConfigsResponse](f, askConfigs(ofBroker, "1")).Resources[0]
	require.Len(t, all.Configs, 350, "an empty list of names is all as well")
	require.Nil(t, all.Configs[0].ConfigSynonyms)
}

func TestListConfigResources(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	require.Empty(t, f.alter(ofGroup, "g", op(set, "consumer.session.timeout.ms", "50000")))
	require.Empty(t, f.alter(ofMetrics, "m", op(set, "interval.ms", "60000")))
	for _, c := range []struct {
		version int16
		types   []int8
		want    string
		code    string
	}{
		{1, nil, "2 t, 4 1, 8 1, 16 m, 32 g", ""},
		{1, []int8{32, 2, 32}, "32 g, 2 t", ""},
		{1, []int8{2, 99}, "", "UNSUPPORTED_VERSION"},
		{1, []int8{0}, "", "UNSUPPORTED_VERSION"},
		{0, []int8{2}, "16 m", ""},
	} {
		req := at(c.version, kmsg.NewPtrListConfigResourcesRequest())
		req.ResourceTypes = c.types
		r := do[*kmsg.ListConfigResourcesResponse](f, req)
		var got []string
		for _, x := range r.ConfigResources {
			got = append(got, fmt.Sprintf("%d %s", x.Type, x.Name))
		}
		require.Equal(t, c.want, strings.Join(got, ", "))
		require.Equal(t, c.code, named(r.ErrorCode))
	}
}
