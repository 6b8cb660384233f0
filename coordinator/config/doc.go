// Package config knows the settings of topics, brokers, groups and client metrics:
// Kafka's names, types, defaults, bounds and synonyms, and how the layers that may set
// one (the resource itself, one broker, all brokers, the start-up settings, the default)
// make its effective value.
//
// The names and defaults are those of Apache Kafka 4.4 (topic, broker and group
// configuration reference), save the few that [Broker] lists as ours. The package holds
// no state: tables are built once, values live with the cluster's metadata and are
// handed in as [Layers].
package config
