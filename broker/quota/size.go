package quota

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// Bounds of DefaultBytes.
const (
	leastBudget = 32 << 20
	mostBudget  = 256 << 20
)

// DefaultBytes is the budget for requests in flight where none is configured: an eighth of the memory this process may use
// (of the machine, the control group and GOMEMLIMIT the smallest), but from 32 to 256 MiB.
func DefaultBytes() int64 {
	memory := debug.SetMemoryLimit(-1)
	for _, limit := range []int64{
		machineMemory(readText("/proc/meminfo")),
		groupMemory(readText("/sys/fs/cgroup/memory.max")),
		groupMemory(readText("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
	} {
		memory = min(memory, limit)
	}
	return min(max(memory/8, leastBudget), mostBudget)
}

func readText(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}

// machineMemory finds the total in the text of /proc/meminfo; unknown counts as no limit.
func machineMemory(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil && kib < math.MaxInt64>>10 {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}

// groupMemory reads a control group's limit, "max" or a number; unknown counts as no limit.
func groupMemory(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
