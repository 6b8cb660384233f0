package handler

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// resource is something that has settings of its own, in the metadata's terms.
type resource struct {
	table *config.Table
	name  string // cluster.DefaultName: of all brokers
}

func (r resource) kind() string { return r.table.Kind }

// wide tells whether the settings are those of all brokers.
func (r resource) wide() bool { return r.table == config.Broker() && r.name == cluster.DefaultName }

// resourceLayers is the settings that stand behind a resource, its own included.
func (h *handlers) resourceLayers(image *cluster.Image, r resource) config.Layers {
	l := h.layers(image, "")
	if r.table != config.Broker() {
		l.Own = image.Config(r.kind(), r.name)
	}
	return l
}

// ownBroker refuses a broker resource that is not this broker's, with the words that describing or altering has for that.
func (h *handlers) ownBroker(name, notNumber, notOurs string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return refuse(kerr.InvalidRequest, notNumber, name)
	case int32(id) != h.BrokerID:
		return refuse(kerr.InvalidRequest, notOurs, h.BrokerID, name)
	}
	return nil
}

// alterable finds a resource to be changed. Loggers are not among them: they are no part of the metadata.
func (h *handlers) alterable(image *cluster.Image, kind kmsg.ConfigResourceType, name string) (resource, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if name == "" {
			return resource{}, refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := cluster.ValidateTopicName(name); err != nil {
			return resource{}, err
		}
		if image.Topic(name) == nil {
			return resource{}, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", name)
		}
		return resource{config.Topic(), name}, nil
	case kmsg.ConfigResourceTypeBroker:
		r := resource{config.Broker(), name}
		if r.wide() {
			return r, nil
		}
		return r, h.alterableBroker(name)
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return resource{}, refuse(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
		return resource{config.Group(), name}, nil
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return resource{}, refuse(kerr.InvalidRequest, "Default client metrics resources are not allowed.")
		}
		return resource{config.ClientMetrics(), name}, nil
	}
	return resource{}, refuse(kerr.InvalidRequest, "Unknown resource type %d", kind)
}

func (h *handlers) alterableBroker(name string) error {
	return h.ownBroker(name, "Node id must be an integer, but it is: %s", "Unexpected broker id, expected %d, but received %s")
}

// validate checks what a resource's settings will be, of which changed are new, and answers them in canonical form.
func (h *handlers) validate(image *cluster.Image, r resource, next map[string]string, changed []string) (map[string]string, error) {
	switch r.table {
	case config.Topic():
		return config.ValidateTopic(next, h.resourceLayers(image, r))
	case config.Group():
		return config.ValidateGroup(next, h.resourceLayers(image, r))
	case config.ClientMetrics():
		return config.ValidateClientMetrics(next)
	}
	return config.ValidateBroker(next, changed, r.wide())
}

// twiceNamed finds the resources that a request names more than once: which of them would count, nobody can know.
func twiceNamed[R any](all []R, id func(*R) (kmsg.ConfigResourceType, string)) []bool {
	type key struct {
		kind kmsg.ConfigResourceType
		name string
	}
	times := make(map[key]int, len(all))
	at := func(i int) key {
		kind, name := id(&all[i])
		return key{kind, name}
	}
	for i := range all {
		times[at(i)]++
	}
	out := make([]bool, len(all))
	for i := range out {
		out[i] = times[at(i)] > 1
	}
	return out
}

var errTwiceNamed = refuse(kerr.InvalidRequest, "Each resource must appear at most once.")

// checkKeys refuses settings named twice or, where values have to be, without one.
func checkKeys(names []string, valueMissing func(i int) bool) error {
	for i := range names {
		if valueMissing(i) {
			return refuse(kerr.InvalidRequest, "Null value not supported for : %s", names[i])
		}
	}
	sorted := slices.Sorted(slices.Values(names))
	if len(slices.Compact(sorted)) < len(names) {
		return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
	}
	return nil
}

// described is the settings of many resources of one kind and one image: what they do not set themselves they share, so that
// it is worked out once.
type described struct {
	table  *config.Table
	behind config.Layers // without a resource's own settings
	shared []config.Entry
	at     map[string]int // places in shared, by name
	ours   []*config.Key  // settings that Kafka does not have: shown where they are set or asked for
}

func describing(t *config.Table, behind config.Layers) *described {
	behind.Own = nil
	d := &described{table: t, behind: behind, at: map[string]int{}}
	for _, k := range t.Keys() {
		if k.Extension {
			d.ours = append(d.ours, k)
		} else {
			d.add(behind.Describe(t, k))
		}
	}
	return d
}

// add shares one more setting, unless there is one of that name.
func (d *described) add(e config.Entry) {
	if _, there := d.at[e.Key.Name]; !there {
		d.at[e.Key.Name] = len(d.shared)
		d.shared = append(d.shared, e)
	}
}

// of is the settings of a resource with these own ones: all of them, or of the names given those that are known. A list of all
// may be the shared one.
func (d *described) of(own map[string]string, names []string) []config.Entry {
	switch {
	case len(names) > 0:
		return d.named(own, names)
	case len(own) == 0:
		return d.shared
	}
	entries := slices.Clone(d.shared)
	for i := range entries {
		entries[i] = d.entry(i, own)
	}
	for _, k := range d.ours {
		if _, set := own[k.Name]; set {
			entries = append(entries, d.extension(k, own))
		}
	}
	return entries
}

// extension is a setting of ours.
func (d *described) extension(k *config.Key, own map[string]string) config.Entry {
	l := d.behind
	l.Own = own
	return l.Describe(d.table, k)
}

func (d *described) named(own map[string]string, names []string) []config.Entry {
	seen := make(map[string]bool, len(names))
	var entries []config.Entry
	for _, name := range names {
		if i, known := d.at[name]; known && !seen[name] {
			seen[name] = true
			entries = append(entries, d.entry(i, own))
		}
		if i := slices.IndexFunc(d.ours, func(k *config.Key) bool { return k.Name == name }); i >= 0 && !seen[name] {
			seen[name] = true
			entries = append(entries, d.extension(d.ours[i], own))
		}
	}
	return entries
}

func (d *described) entry(i int, own map[string]string) config.Entry {
	e := d.shared[i]
	if _, set := own[e.Key.Name]; !set {
		return e
	}
	l := d.behind
	l.Own = own
	return l.Describe(d.table, e.Key)
}
