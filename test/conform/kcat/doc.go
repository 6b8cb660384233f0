// Package kcat runs Debian's kcat (librdkafka), unchanged, against a broker.
//
// The tests need kcat, and are skipped unless CONFORM_KCAT names it, which
// test/conform/run does.
package kcat
