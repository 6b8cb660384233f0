// Package crash ends brokers in every way that is not orderly and looks at what they promised before.
//
//   - kill_test.go: a real process under load, killed with SIGKILL again and again (`make crash`).
//   - powercut_test.go: a whole broker over the crash file system, whose power goes at random sync points under the same load.
//   - rule*_test.go: the rules of durability one by one, as scripts over a data directory that are cut at every sync point.
//   - acks_test.go: nothing is acknowledged while the sync it needs is held up, fails, or the disk is full.
//
// README.md says which test stands for which rule. Everything random prints its seed.
package crash
