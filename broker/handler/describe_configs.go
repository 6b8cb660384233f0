package handler

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// DescribeConfigs (key 32), versions 1 to 4: v3 adds types and documentation, v4 is flexible. Every setting is listed, also
// those nobody set: tools read, change and write back.
func (h *handlers) describeConfigs(c *call.Call) {
	req := c.Request.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	image := h.Cluster.Image()
	for i := range req.Resources {
		rr := &req.Resources[i]
		d := configAnswer{req: req, wanted: rr.ConfigNames}
		err := h.describeResource(image, rr, &d)
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.Configs = rr.ResourceType, rr.ResourceName, d.out
		out.ErrorCode, out.ErrorMessage = h.code(err, "describe configs"), reasonOf(err)
		if out.ErrorMessage == nil {
			out.ErrorMessage = kmsg.StringPtr("")
		}
		resp.Resources = append(resp.Resources, out)
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) describeResource(image *cluster.Image, rr *kmsg.DescribeConfigsRequestResource, d *configAnswer) error {
	switch name := rr.ResourceName; rr.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if image.Topic(name) == nil {
			return unknownTopic(name)
		}
		d.table(config.Topic(), h.layers(image, name))
	case kmsg.ConfigResourceTypeBroker:
		return h.describeBroker(image, name, d)
	case kmsg.ConfigResourceTypeBrokerLogger:
		return h.describeLoggers(name, d)
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return refuse(kerr.InvalidRequest, "Group name must not be empty")
		}
		d.table(config.Group(), h.resourceLayers(image, resource{config.Group(), name}))
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return refuse(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		d.table(config.ClientMetrics(), h.resourceLayers(image, resource{config.ClientMetrics(), name}))
	default:
		return refuse(kerr.InvalidRequest, "There are no configs of resource type %d", rr.ResourceType)
	}
	return nil
}

// describeBroker shows one broker's settings with all that stands behind them, or what is set dynamically for all brokers.
func (h *handlers) describeBroker(image *cluster.Image, name string, d *configAnswer) error {
	l := h.layers(image, "")
	if name != cluster.DefaultName {
		err := h.ownBroker(name, "Broker id must be an integer, but it is: %s", "Unexpected broker id, expected %d or empty string, but received %s")
		if err != nil {
			return err
		}
		l.Start = h.shownStart(image)
		d.table(config.Broker(), l)
		d.strangers(l.OneBroker, config.FromBroker)
		d.strangers(l.AllBrokers, config.FromAllBrokers)
		return nil
	}
	l = config.Layers{AllBrokers: l.AllBrokers}
	for _, k := range config.Broker().Keys() {
		if e := l.Describe(config.Broker(), k); e.Source == config.FromAllBrokers {
			e.Synonyms = e.Synonyms[:1]
			d.entry(e)
		}
	}
	d.strangers(l.AllBrokers, config.FromAllBrokers)
	return nil
}

// shownStart is what this broker was started with, under Kafka's names also for what is told by other means than settings.
func (h *handlers) shownStart(image *cluster.Image) map[string]string {
	shown := maps.Clone(h.Start)
	if shown == nil {
		shown = map[string]string{}
	}
	id := strconv.Itoa(int(h.BrokerID))
	shown["broker.id"], shown["node.id"] = id, id
	if h.Disk != nil {
		shown["log.dirs"] = h.Disk.Path()
	}
	b := image.Broker(h.BrokerID)
	if b == nil {
		return shown
	}
	if b.Rack != "" {
		shown["broker.rack"] = b.Rack
	}
	var advertised, protocols []string
	for _, l := range b.Listeners {
		advertised = append(advertised, l.Name+"://"+l.Host+":"+strconv.Itoa(int(l.Port)))
		protocols = append(protocols, l.Name+":"+l.Protocol)
	}
	shown["advertised.listeners"], shown["listeners"] = strings.Join(advertised, ","), strings.Join(advertised, ",")
	shown["listener.security.protocol.map"] = strings.Join(protocols, ",")
	return shown
}

func (h *handlers) describeLoggers(name string, d *configAnswer) error {
	if name == "" {
		return refuse(kerr.InvalidRequest, "Broker id must not be empty")
	}
	if err := h.ownBroker(name, "Broker id must be an integer, but it is: %s", "Unexpected broker id, expected %d but received %s"); err != nil {
		return err
	}
	if h.LogLevel == nil || !d.wants(rootLogger) {
		return nil
	}
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.Source = rootLogger, kmsg.StringPtr(h.levelName()), sourceLogger
	d.out = append(d.out, out)
	return nil
}

// configAnswer collects the settings of one resource.
type configAnswer struct {
	req    *kmsg.DescribeConfigsRequest
	wanted []string // names asked for; none: all
	out    []kmsg.DescribeConfigsResponseResourceConfig
}

func (d *configAnswer) wants(name string) bool {
	return len(d.wanted) == 0 || slices.Contains(d.wanted, name)
}

// table adds all settings of a kind that are asked for.
func (d *configAnswer) table(t *config.Table, l config.Layers) {
	for _, k := range t.Keys() {
		if d.wants(k.Name) {
			d.entry(l.Describe(t, k))
		}
	}
}

func (d *configAnswer) entry(e config.Entry) {
	if !d.wants(e.Key.Name) {
		return
	}
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.Source = e.Key.Name, e.Value, kmsg.ConfigSource(e.Source)
	out.ReadOnly, out.IsSensitive, out.ConfigType = e.Key.ReadOnly, e.Key.Sensitive, kmsg.ConfigType(e.Key.Type)
	if d.req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			rs := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			rs.Name, rs.Value, rs.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			out.ConfigSynonyms = append(out.ConfigSynonyms, rs)
		}
	}
	if d.req.IncludeDocumentation && e.Key.Doc != "" {
		out.Documentation = &e.Key.Doc
	}
	d.out = append(d.out, out)
}

// strangers adds dynamic settings of names nobody knows. What they mean, and whether they are secrets, is not known either, so
// their values are not shown.
func (d *configAnswer) strangers(set map[string]string, source config.Source) {
	for name := range set {
		if _, known := config.Broker().Key(name); known || !d.wants(name) || d.has(name) {
			continue
		}
		out := kmsg.NewDescribeConfigsResponseResourceConfig()
		out.Name, out.Source, out.ReadOnly, out.IsSensitive = name, kmsg.ConfigSource(source), true, true
		if d.req.IncludeSynonyms {
			rs := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			rs.Name, rs.Source = name, kmsg.ConfigSource(source)
			out.ConfigSynonyms = append(out.ConfigSynonyms, rs)
		}
		d.out = append(d.out, out)
	}
}

func (d *configAnswer) has(name string) bool {
	return slices.ContainsFunc(d.out, func(c kmsg.DescribeConfigsResponseResourceConfig) bool { return c.Name == name })
}
