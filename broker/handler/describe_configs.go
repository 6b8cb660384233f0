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

// mostConfigs bounds the settings in one answer: all of 27,000 topics, in about 100 MiB. A request of a few MiB could ask for
// thousands of times that. What does not fit any more is refused resource by resource.
const mostConfigs = 1_000_000

// DescribeConfigs (key 32), versions 1 to 4: v3 adds types and documentation, v4 is flexible. Every setting is listed, also
// those nobody set: tools read, change and write back.
func (h *handlers) describeConfigs(c *call.Call) {
	req := c.Request.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	d := configAnswer{handlers: h, req: req, image: h.Cluster.Image(), views: map[viewKey]*described{}, full: map[*described][]describedConfig{}}
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(req.Resources))
	for i := range req.Resources {
		rr, out := &req.Resources[i], &resp.Resources[i]
		configs, err := d.resource(rr)
		out.ResourceType, out.ResourceName, out.Configs = rr.ResourceType, rr.ResourceName, configs
		out.ErrorCode, out.ErrorMessage = h.code(err, "describe configs"), reasonOf(err)
		if out.ErrorMessage == nil {
			out.ErrorMessage = kmsg.StringPtr("")
		}
	}
	c.Reply(call.Response{Message: resp})
}

type describedConfig = kmsg.DescribeConfigsResponseResourceConfig

// viewKey names what resources share: the settings of a kind, or those of all brokers.
type viewKey struct {
	table *config.Table
	wide  bool
}

// configAnswer makes one answer from one image. However often a request names the same things, they are worked out once.
type configAnswer struct {
	*handlers
	req   *kmsg.DescribeConfigsRequest
	image *cluster.Image
	views map[viewKey]*described
	full  map[*described][]describedConfig // complete answers that resources share
	shown int                              // settings in the answer so far
}

func (d *configAnswer) resource(rr *kmsg.DescribeConfigsRequestResource) ([]describedConfig, error) {
	if d.shown >= mostConfigs {
		return nil, refuse(kerr.PolicyViolation, "More than %d settings in one answer; ask for fewer resources at a time.", mostConfigs)
	}
	view, own, err := d.find(rr.ResourceType, rr.ResourceName)
	if err != nil {
		return nil, err
	}
	var configs []describedConfig
	if shareable := len(own) == 0 && len(rr.ConfigNames) == 0; shareable {
		if configs = d.full[view]; configs == nil {
			configs = d.show(view.shared)
			d.full[view] = configs
		}
	} else {
		configs = d.show(view.of(own, rr.ConfigNames))
	}
	d.shown += len(configs)
	return configs, nil
}

// find answers what a resource shares with others and what it has of its own.
func (d *configAnswer) find(kind kmsg.ConfigResourceType, name string) (view *described, own map[string]string, err error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if d.image.Topic(name) == nil {
			return nil, nil, unknownTopic(name)
		}
		return d.view(viewKey{table: config.Topic()}), d.image.Config(config.Topic().Kind, name), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return nil, nil, refuse(kerr.InvalidRequest, "Group name must not be empty")
		}
		return d.view(viewKey{table: config.Group()}), d.image.Config(config.Group().Kind, name), nil
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return nil, nil, refuse(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return d.view(viewKey{table: config.ClientMetrics()}), d.image.Config(config.ClientMetrics().Kind, name), nil
	case kmsg.ConfigResourceTypeBroker:
		if name == cluster.DefaultName {
			return d.view(viewKey{config.Broker(), true}), nil, nil
		}
		err := d.ownBroker(name, "Broker id must be an integer, but it is: %s", "Unexpected broker id, expected %d or empty string, but received %s")
		return d.view(viewKey{table: config.Broker()}), nil, err
	case kmsg.ConfigResourceTypeBrokerLogger:
		if name == "" {
			return nil, nil, refuse(kerr.InvalidRequest, "Broker id must not be empty")
		}
		err := d.ownBroker(name, "Broker id must be an integer, but it is: %s", "Unexpected broker id, expected %d but received %s")
		return d.view(viewKey{}), nil, err
	}
	return nil, nil, refuse(kerr.InvalidRequest, "There are no configs of resource type %d", kind)
}

func (d *configAnswer) view(key viewKey) *described {
	v := d.views[key]
	if v != nil {
		return v
	}
	l := d.layers(d.image, "")
	switch {
	case key.table == nil:
		v = d.loggers()
	case key.wide:
		v = dynamicOfAll(l.AllBrokers)
	default:
		if key.table == config.Broker() {
			l.Start = d.shownStart(d.image)
		}
		v = describing(key.table, l)
		if key.table == config.Broker() {
			v.addStrangers(l.OneBroker, config.FromBroker)
			v.addStrangers(l.AllBrokers, config.FromAllBrokers)
		}
	}
	d.views[key] = v
	return v
}

// dynamicOfAll is what is set dynamically for all brokers.
func dynamicOfAll(set map[string]string) *described {
	v := &described{at: map[string]int{}}
	for _, e := range describing(config.Broker(), config.Layers{AllBrokers: set}).shared {
		if e.Source == config.FromAllBrokers {
			e.Synonyms = e.Synonyms[:1]
			v.add(e)
		}
	}
	v.addStrangers(set, config.FromAllBrokers)
	return v
}

// addStrangers shows dynamic settings of names nobody knows. What they mean, and whether they are secrets, is not known
// either, so their values are kept back.
func (d *described) addStrangers(set map[string]string, source config.Source) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, known := config.Broker().Key(name); !known {
			d.add(config.Entry{Key: &config.Key{Name: name, ReadOnly: true, Sensitive: true}, Source: source,
				Synonyms: []config.Synonym{{Name: name, Source: source}}})
		}
	}
}

// loggers is the levels of this broker's loggers.
func (d *configAnswer) loggers() *described {
	v := &described{at: map[string]int{}}
	if d.LogLevel != nil {
		level := d.levelName()
		v.add(config.Entry{Key: &config.Key{Name: rootLogger}, Value: &level, Source: sourceLogger})
	}
	return v
}

// shownStart is what this broker was started with, under Kafka's names also for what is told by other means than settings.
func (h *handlers) shownStart(image *cluster.Image) map[string]string {
	shown := map[string]string{}
	maps.Copy(shown, h.Start)
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
	var endpoints, protocols []string
	for _, l := range b.Listeners {
		endpoints = append(endpoints, l.Name+"://"+l.Host+":"+strconv.Itoa(int(l.Port)))
		protocols = append(protocols, l.Name+":"+l.Protocol)
	}
	shown["advertised.listeners"], shown["listeners"] = strings.Join(endpoints, ","), strings.Join(endpoints, ",")
	shown["listener.security.protocol.map"] = strings.Join(protocols, ",")
	return shown
}

// show puts settings into the answer's form.
func (d *configAnswer) show(entries []config.Entry) []describedConfig {
	out := make([]describedConfig, len(entries))
	for i := range entries {
		e, c := &entries[i], &out[i]
		c.Name, c.Value, c.Source = e.Key.Name, e.Value, kmsg.ConfigSource(e.Source)
		c.ReadOnly, c.IsSensitive, c.ConfigType = e.Key.ReadOnly, e.Key.Sensitive, kmsg.ConfigType(e.Key.Type)
		if d.req.IncludeDocumentation && e.Key.Doc != "" {
			c.Documentation = &e.Key.Doc
		}
		if !d.req.IncludeSynonyms {
			continue
		}
		for _, s := range e.Synonyms {
			rs := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			rs.Name, rs.Value, rs.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			c.ConfigSynonyms = append(c.ConfigSynonyms, rs)
		}
	}
	return out
}
