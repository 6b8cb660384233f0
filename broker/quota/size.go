package quota

import "runtime/debug"

// Bounds of DefaultBytes.
const (
	leastBudget = 32 << 20
	mostBudget  = 256 << 20
)

// DefaultBytes is the budget for requests in flight where none is configured: an eighth of the machine's memory, or of
// GOMEMLIMIT if that is less, but from 32 to 256 MiB.
func DefaultBytes() int64 { return share(min(debug.SetMemoryLimit(-1), machineMemory())) }

// share is the part of memory that requests in flight may take.
func share(memory int64) int64 { return min(max(memory/8, leastBudget), mostBudget) }
