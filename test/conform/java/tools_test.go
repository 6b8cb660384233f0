package java

import (
	"os"
	"testing"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

// site is a broker and the tools that are pointed at it.
type site struct{ target.Tools }

func newSite(t *testing.T, settings ...string) site {
	t.Helper()
	if os.Getenv("CONFORM_JAVA") == "" {
		t.Skip("Apache Kafka's tools are run by test/conform/run, which sets CONFORM_JAVA where java and mvn are there")
	}
	settings = append([]string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5"}, settings...)
	return site{target.StartTools(t, settings...)}
}
