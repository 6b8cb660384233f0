// Package cluster is the only door to etcd. It keeps the cluster's metadata there, publishes it as one immutable [Image], and performs
// the changes: topics, partitions, configs, producer ids, membership and the election of the controller.
//
// # Names
//
// Every key lies under one prefix ("tidemark/" by default); values are readable JSON.
//
//	cluster                       {"id":"kW1...22 characters","format":1}                 made once
//	features                      {"metadata.version":33}                                 made with cluster; brokers that know more raise it
//	brokers/<id>                  {"incarnation":"...","directory":"...","listeners":[..]} leased; its revision is the broker's epoch
//	controller                    {"broker":1,"incarnation":"..."}                        leased; its revision is the controller's epoch
//	topics/<name>                 {"id":"...","partitions":3}                             makes partitions 0 to 2 count
//	partitions/<topic-id>/<n>     {"leader":1,"leader_epoch":0,"partition_epoch":0,"replicas":[1],"isr":[1]}
//	configs/<kind>/<name>         {"retention.ms":"1000"}                                 one set, changed as a whole
//	producer-ids                  {"next":2000}                                           the first id not yet given out
//
// # Invariants
//
//   - A topic exists when its topic key does. Its partition keys are written before (etcd bounds a transaction to 128 operations) and removed
//     after. Partition keys that no topic key counts are orphans of a crash or a failed change; the controller removes them.
//   - Every change is a transaction that is safe to repeat: it compares the revision of what it read, and what the controller does compares
//     the controller key as well, so that one that was replaced changes nothing.
//   - The image moves forward only, revision by revision, in etcd's order. Callbacks run before the image is shown, and whoever made the
//     change is answered after both.
//   - A broker whose lease ran out by its own clock is not [Cluster.Active]; its clock starts when the renewal is sent, so it ends before
//     etcd's does, and nobody else leads before that.
//   - Leader epochs never repeat for different data: they grow when a leader is chosen, and when a broker that did not stop cleanly comes
//     back to what it leads (see unclean.go).
//
// # Who owns what
//
// A [Store] talks to etcd: the real one in etcd.go (over a client, or in-process over the embedded server of embedded.go), or [Memory], a model
// that one test suite holds against the real one and that runs under virtual time. The view owns the watch and the image, the session owns
// lease, registration and candidacy, the [Controller] decides (placement, leaders, orphans) and [Cluster] puts them together and waits for
// their goroutines in Close.
package cluster
