// Package leases records what consumers at both doors of a queue see, and checks it against the rules of leases.
//
// A History is facts alone: what was sent, which requests took records and which had no answer, what was said of the records and
// what the broker answered, when brokers died, what lies in the logs at the end, and what the counters said. Each fact has the
// time before its request left and the time after its answer came; what happened in between at an unknown moment is judged in the
// broker's favour. Check is pure and answers what contradicts the rules:
//
//   - holders: nobody gets a record while the lease of another one runs, across restarts where leases are durable, and within a
//     life where they are not; who holds a lease that runs can settle, and nobody else.
//   - return: what was accepted, and acknowledged as that, never comes back.
//   - fate: everything else comes back until it is accepted, or is a dead letter exactly once, for a reason. Nothing vanishes.
//   - deliveries: the count of a durable lease rises by one each time and never falls; failures count what failed, and no more.
//   - order: a group with strict order gets nothing past what is not settled.
//   - delay: once, and never early.
//   - counts: the broker's counters say what the history says.
//
// Two tests make histories: virtual_test.go runs a whole broker in memory under virtual time, with kills and power cuts at random
// sync points; real_test.go runs the real binary with HTTP and franz-go share consumers and kill -9. README.md says how to run
// them for long.
package leases
