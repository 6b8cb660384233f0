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
