package quota

import (
	"math"

	"golang.org/x/sys/unix"
)

// machineMemory is the machine's memory in bytes; unknown counts as no limit.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil || info.Totalram > math.MaxInt64/uint64(max(info.Unit, 1)) {
		return math.MaxInt64
	}
	return int64(info.Totalram) * int64(info.Unit)
}
