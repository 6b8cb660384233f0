//go:build !linux

package quota

import "math"

// machineMemory is the machine's memory in bytes; unknown counts as no limit.
func machineMemory() int64 { return math.MaxInt64 }
