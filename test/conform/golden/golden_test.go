package golden

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

var record = flag.Bool("record", false, "write the recordings from a new Apache Kafka instead of comparing with them")

// settings are what both brokers differ in from Kafka's defaults.
var settings = []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5", "group.min.session.timeout.ms=1000"}

// scenarios by name; each file of this package adds its own.
var scenarios = map[string]func(*script){}

func TestAnswersAreApacheKafkas(t *testing.T) {
	b := start(t)
	t.Run("scenarios", func(t *testing.T) { // returns when all of them have ended
		for name, run := range scenarios {
			for _, e := range []edition{lowest, highest} {
				t.Run(name+"/"+e.String(), func(t *testing.T) {
					t.Parallel()
					got := play(t, b.Addr, name, e, run)
					if *record {
						write(t, name, e, got)
						return
					}
					compare(t, read(t, name, e), got)
				})
			}
		}
	})
}

func TestNoRecordingIsLeftWithoutItsScenario(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	for _, f := range files {
		name, _, _ := strings.Cut(filepath.Base(f), ".")
		require.Contains(t, scenarios, name, f)
	}
}

func start(t *testing.T) *target.Broker {
	if *record {
		return target.Kafka(t, settings...)
	}
	return target.Start(t, settings...)
}

func file(name string, e edition) string {
	return filepath.Join("testdata", name+"."+e.String()+".txt")
}

const head = "# Answers of Apache Kafka 4.4.0; see doc.go for how to read and how to record them.\n"

func write(t *testing.T, name string, e edition, got []exchange) {
	var b strings.Builder
	b.WriteString(head)
	for _, x := range got {
		fmt.Fprintf(&b, "\n%s\n", x)
	}
	require.NoError(t, os.WriteFile(file(name, e), []byte(b.String()), 0o644))
}

func read(t *testing.T, name string, e edition) []string {
	text, err := os.ReadFile(file(name, e))
	require.NoError(t, err)
	body := strings.TrimSpace(strings.TrimPrefix(string(text), head))
	if body == "" {
		return nil
	}
	return strings.Split(body, "\n\n")
}

// compare tells each exchange apart that differs, so that one failure says all.
func compare(t *testing.T, want []string, got []exchange) {
	t.Helper()
	for i, w := range want {
		if i >= len(got) {
			t.Errorf("Kafka goes on with:\n%s", w)
			return
		}
		if g := got[i].String(); g != w {
			t.Errorf("Kafka answers\n%s\nand this broker\n%s", w, g)
		}
	}
	for _, g := range got[min(len(want), len(got)):] {
		t.Errorf("not recorded:\n%s", g)
	}
}
