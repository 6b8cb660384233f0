package golden

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["configs"] = configs
	scenarios["configs-changed"] = configsChanged
	scenarios["configs-broker"] = configsBroker
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
	set      = kmsg.IncrementalAlterConfigOpSet
	unset    = kmsg.IncrementalAlterConfigOpDelete
	add      = kmsg.IncrementalAlterConfigOpAppend
	subtract = kmsg.IncrementalAlterConfigOpSubtract
)

func configs(s *script) {
	t := s.topic("t", 1, "cleanup.policy=compact,delete", "segment.ms=60000")
	s.ask("all of a topic", describeConfigs(ofTopic, t.name))
	bare := describeConfigs(ofTopic, t.name, "retention.ms", "cleanup.policy", "no.such.setting", "retention.ms")
	bare.IncludeSynonyms = false
	s.ask("some, one unknown, one twice", bare)
	s.ask("unknown topic", describeConfigs(ofTopic, s.topicName("nobody")))
	s.ask("bad topic name", describeConfigs(ofTopic, "a b"))
	s.ask("unknown kind", describeConfigs(99, t.name))
	none := describeConfigs(ofTopic, t.name)
	none.Resources[0].ConfigNames = []string{}
	s.ask("an empty list of names", none, func(r kmsg.Response) {
		res := &r.(*kmsg.DescribeConfigsResponse).Resources[0]
		s.note("(how many)", "any: %t", len(res.Configs) > 0)
		res.Configs = nil
	})
	list := kmsg.NewPtrListConfigResourcesRequest()
	list.ResourceTypes = []int8{int8(ofTopic), int8(ofBroker)}
	s.ask("list", list, func(r kmsg.Response) {
		resp := r.(*kmsg.ListConfigResourcesResponse)
		kept := resp.ConfigResources[:0]
		for _, c := range resp.ConfigResources {
			if c.Type == int8(ofBroker) || c.Name == t.name {
				kept = append(kept, c)
			}
		}
		resp.ConfigResources = kept
	})
	list.ResourceTypes = []int8{77}
	s.ask("list an unknown kind", list)
}

func configsChanged(s *script) {
	t := s.topic("t", 1)
	// seen waits for the values that Kafka shows soon after a change, and then compares
	// all there is to say of them.
	seen := func(about, retention, policy, size string) {
		r := describeConfigs(ofTopic, t.name, "retention.ms", "cleanup.policy", "max.message.bytes")
		r.IncludeSynonyms = false
		want := map[string]string{"retention.ms": retention, "cleanup.policy": policy, "max.message.bytes": size}
		prepare(s, r, func(r *kmsg.DescribeConfigsResponse) bool {
			for _, c := range r.Resources[0].Configs {
				if *c.Value != want[c.Name] {
					return false
				}
			}
			return true
		})
		s.ask(about, r)
	}
	s.ask("whole set", alterConfigs(ofTopic, t.name, "max.message.bytes=3000", "cleanup.policy=compact"))
	seen("after the whole set", "604800000", "compact", "3000")
	s.ask("whole set, unknown name", alterConfigs(ofTopic, t.name, "no.such.setting=1"))
	s.ask("whole set, bad value", alterConfigs(ofTopic, t.name, "max.message.bytes=-1"))
	s.ask("whole set, null value", alterConfigs(ofTopic, t.name, "max.message.bytes"))
	s.ask("whole set of an unknown topic", alterConfigs(ofTopic, s.topicName("nobody"), "max.message.bytes=1"))
	only := alterConfigs(ofTopic, t.name, "max.message.bytes=4000")
	only.ValidateOnly = true
	s.ask("whole set, only checked", only)
	seen("after only checking", "604800000", "compact", "3000")

	steps := func(about string, changes ...change) { s.ask(about, incremental(ofTopic, t.name, changes...)) }
	steps("set one", change{set, "retention.ms=5000"})
	steps("add to a list", change{add, "cleanup.policy=delete"})
	seen("after setting and adding", "5000", "compact,delete", "3000")
	steps("take from a list", change{subtract, "cleanup.policy=compact"})
	steps("drop one", change{unset, "max.message.bytes"})
	seen("after taking and dropping", "5000", "delete", "1048588")
	steps("drop one that is not set", change{unset, "segment.ms"})
	steps("add to a number", change{add, "retention.ms=1"})
	steps("add what is there", change{add, "cleanup.policy=delete"})
	steps("set an unknown name", change{set, "no.such.setting=1"})
	steps("set a bad value", change{set, "cleanup.policy=burn"})
	steps("set null", change{set, "retention.ms"})
	steps("the same name twice", change{set, "retention.ms=1"}, change{unset, "retention.ms"})
	steps("one good, one bad", change{set, "retention.ms=77"}, change{set, "segment.bytes=x"})
	steps("nothing")
	seen("after all that", "5000", "delete", "1048588")
	s.ask("unknown topic", incremental(ofTopic, s.topicName("nobody"), change{set, "retention.ms=1"}))
	s.ask("unknown kind", incremental(99, t.name, change{set, "retention.ms=1"}))
	twice := incremental(ofTopic, t.name, change{set, "retention.ms=1"})
	twice.Resources = append(twice.Resources, twice.Resources[0])
	s.ask("the same topic twice", twice)
}

// configsBroker changes nothing that another scenario could see.
func configsBroker(s *script) {
	some := []string{"num.partitions", "log.retention.hours", "message.max.bytes", "group.initial.rebalance.delay.ms", "compression.type"}
	s.ask("some of the broker", describeConfigs(ofBroker, "1", some...))
	s.ask("of another broker", describeConfigs(ofBroker, "2", some...))
	s.ask("of no broker's number", describeConfigs(ofBroker, "one", some...))
	s.ask("set for a broker that is not there", incremental(ofBroker, "9", change{set, "log.cleaner.threads=1"}))
	s.ask("read-only setting", incremental(ofBroker, "1", change{set, "broker.id=5"}))
	s.ask("bad value", incremental(ofBroker, "1", change{set, "log.cleaner.threads=none"}))
}
