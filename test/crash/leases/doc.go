// Package leases holds the rules of durability for leases, dead letters and delays as named scripts: each is cut at every sync point,
// before and after that took effect, and what a restart finds is held against what was answered.
//
// A script is a scenario: it prepares a world, then does things that may be cut anywhere, and says what must hold afterwards. The
// world is a simulated broker (test/simulation), whole and in memory under virtual time, over a disk and metadata that can be cut;
// deletions are cut between the transactions of the metadata, too.
//
//   - world_test.go: the broker with the queue service on it, and what clients do, through the front door.
//   - cut_test.go: how a scenario is cut, and what is left of the disk.
//   - ledger_test.go: what consumers were told of a group's records, and whether what they see later agrees.
//   - the rest: the scripts.
//
// README.md says which script stands for which rule.
package leases
