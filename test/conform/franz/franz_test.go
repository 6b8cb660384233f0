package franz

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

//go:embed tests.txt
var list string

// records is how many the tests that move many do.
const records = "50000"

var line = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+)`)

func TestFranzGosOwnTests(t *testing.T) {
	if os.Getenv("CONFORM_FRANZ") == "" {
		t.Skip("franz-go's own tests are run by test/conform/run, which sets CONFORM_FRANZ")
	}
	b := target.Start(t, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5")
	names := listed(t, "run")
	cmd := exec.CommandContext(t.Context(), "go", "test", "github.com/twmb/franz-go/pkg/kgo", "-count=1", "-v", "-timeout", "8m",
		"-run", "^("+strings.Join(names, "|")+")$", "-skip", "848")
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+b.Addr, "KGO_TEST_RF=1", "KGO_TEST_RECORDS="+records, "KGO_LOG_LEVEL=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	var passed, said []string
	s := bufio.NewScanner(out)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		said = append(said, s.Text())
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			fmt.Println("    " + s.Text())
			if m[1] == "PASS" {
				passed = append(passed, m[2])
			}
		}
	}
	require.NoError(t, cmd.Wait(), strings.Join(said[max(0, len(said)-200):], "\n"))
	slices.Sort(passed)
	require.Equal(t, names, passed, "each of them ran")
}

// listed are the sorted names of the list's lines that begin with a word.
func listed(t *testing.T, word string) (names []string) {
	for l := range strings.Lines(list) {
		if f := strings.Fields(l); len(f) >= 2 && f[0] == word {
			names = append(names, f[1])
		}
	}
	require.NotEmpty(t, names)
	slices.Sort(names)
	return names
}
