// Package clock is the time that a broker's leases, retries and delayed messages go by.
//
// It shows the machine's wall clock as of when it was made, plus the time that has passed since then (the monotonic clock). So a step
// of the machine's clock, by hand or by NTP, neither ends a lease early nor holds it, and makes no delayed message early or late.
// What is kept on disk are wall-clock times of that clock: after a restart they are compared with a clock made anew, so a step
// that came in between counts then, once. Time in which the machine sleeps does not count while the process lives.
package clock

import "time"

// Anchored makes such a clock from a wall clock, which it reads once; time.Now is the wall clock of a broker. Its times hold no
// monotonic reading: they are for comparing with each other and with kept times, not with time.Now's. Any goroutine may call it.
func Anchored(wall func() time.Time) func() time.Time {
	began := time.Now()
	anchor := wall().Round(0)
	return func() time.Time { return anchor.Add(time.Since(began)) }
}
