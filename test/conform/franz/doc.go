// Package franz runs franz-go's own tests of its client (pkg/kgo), unchanged, against a
// broker: those that need no more than producing, consuming, classic groups and share groups.
// tests.txt names them, and says of the others that need a broker why they are left out.
//
// It takes a minute, and is skipped unless CONFORM_FRANZ is set, which test/conform/run
// does.
package franz
