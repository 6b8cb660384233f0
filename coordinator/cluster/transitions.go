package cluster

import "slices"

// This file decides what becomes of a partition when brokers come and go. The functions are pure; rewrite.go writes what they answer.
//
//	event                                     leader                        ISR                              leader epoch
//	leader gone, others in sync alive         first replica in sync, alive  without those gone               +1
//	leader gone, nobody in sync alive         none                          as it was: they hold the data    +1
//	follower gone                             stays                         without it                       stays
//	somebody in sync back, no leader          first replica in sync, alive  those in sync that are alive     +1
//	came back after a crash, others alive     as if gone                    without it                       +1 if it led
//	came back after a crash, nobody else      stays                         stays                            +1 if it led
//
// The partition epoch grows with every change.

// settle gives the partition as it should be with these brokers alive, and whether that differs.
func settle(p Partition, alive func(int32) bool) (Partition, bool) {
	inSync := slices.DeleteFunc(slices.Clone(p.ISR), func(id int32) bool { return !alive(id) })
	if len(inSync) == 0 {
		inSync = p.ISR
	}
	leader := p.Leader
	if !alive(leader) || !slices.Contains(inSync, leader) {
		leader = firstLeader(p.Replicas, inSync, alive)
	}
	return p.with(leader, inSync)
}

// afterCrash gives the partition as it should be when broker id comes back from anything but a clean stop. It may have lost what only its page
// cache held, and it will write other records at the offsets of what it lost; so where others are in sync they go on without it, and where it
// goes on leading, the new records bear a new epoch.
func afterCrash(p Partition, id int32, alive func(int32) bool) (Partition, bool) {
	if !slices.Contains(p.ISR, id) {
		return p, false
	}
	others := slices.DeleteFunc(slices.Clone(p.ISR), func(other int32) bool { return other == id })
	if slices.ContainsFunc(others, alive) {
		leader := p.Leader
		if leader == id {
			leader = firstLeader(p.Replicas, others, alive)
		}
		return p.with(leader, others)
	}
	if p.Leader != id {
		return p, false
	}
	p.LeaderEpoch++
	p.PartitionEpoch++
	return p, true
}

// firstLeader is the first in the order of the assignment that is in sync and alive.
func firstLeader(replicas, inSync []int32, alive func(int32) bool) int32 {
	for _, id := range replicas {
		if slices.Contains(inSync, id) && alive(id) {
			return id
		}
	}
	return NoLeader
}

// with gives p under another leader and in-sync set, its epochs raised as that asks, and whether anything changed.
func (p Partition) with(leader int32, inSync []int32) (Partition, bool) {
	if leader == p.Leader && slices.Equal(inSync, p.ISR) {
		return p, false
	}
	if leader != p.Leader {
		p.LeaderEpoch++
	}
	p.Leader, p.ISR = leader, inSync
	p.PartitionEpoch++
	return p, true
}

// aliveIn answers whether a broker is registered.
func aliveIn(im *Image) func(int32) bool {
	alive := make(map[int32]bool, len(im.Brokers))
	for i := range im.Brokers {
		alive[im.Brokers[i].ID] = true
	}
	return func(id int32) bool { return alive[id] }
}
