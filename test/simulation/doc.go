// Package simulation runs a whole broker in memory, under the virtual time of testing/synctest, and ends it in every way that there
// is: in good order, as a kill, or as a loss of power at a chosen moment.
//
// A World is the lives of one broker. All parts of a Life are the real ones, put together as broker.Start does it but without
// sockets: requests go through the front door (Ask). What outlives a life is the World's:
//
//   - the disk, a vfs.Crash, which can be cut at any of its sync points; Crash says what is left of it;
//   - the cluster's metadata, as in an etcd of its own; a broker can die at any transaction of it.
//
// A test makes a World inside a bubble (synctest.Test) and ends it there:
//
//	w := simulation.New(t, simulation.Options{Seed: seed})
//	defer w.End()
//	require.NoError(t, w.Start())
//	w.CutAtSync(3, vfs.BeforeSync)
//	...                              // requests
//	w.Crash((*vfs.Crash).Kill)
//	require.NoError(t, w.Start())    // and what must still hold
//
// The same seed and the same choices leave the same of a disk. Goroutines that are ready at the same virtual time run in an order of
// their own, so a whole run may differ.
package simulation
