package identity

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// slowdown makes guessing passwords slow. Every attempt takes from a budget, of the user as seen from one network and of
// that network with all users; a login that succeeds gives back what it took. Budgets live in a table of fixed size by a hash
// that nobody outside can predict: two may share one, none needs room of its own. Nobody can lock a user out from elsewhere.
type slowdown struct {
	seed maphash.Seed

	mu      sync.Mutex
	buckets [buckets]bucket
}

// bucket is a budget: spent attempts as of a time.
type bucket struct {
	spent float64
	at    time.Time
}

// allowance is a budget's size and how fast it comes back.
type allowance struct {
	attempts float64
	each     time.Duration
}

const buckets = 4096

var (
	userAllowance    = allowance{attempts: 10, each: 6 * time.Second}
	networkAllowance = allowance{attempts: 60, each: time.Second}
)

func newSlowdown() *slowdown { return &slowdown{seed: maphash.MakeSeed()} }

// take spends one attempt. When the budget is used up it says after what time there is one again; then nothing is spent.
func (s *slowdown) take(user, remote string, now time.Time) (wait time.Duration, giveBack func()) {
	from := network(remote)
	own, all := s.bucket("u\x00"+from+"\x00"+user), s.bucket("n\x00"+from)
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = max(own.wait(userAllowance, now), all.wait(networkAllowance, now))
	if wait > 0 {
		return wait, nil
	}
	own.spent++
	all.spent++
	return 0, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		own.spent = max(0, own.spent-1)
		all.spent = max(0, all.spent-1)
	}
}

func (s *slowdown) bucket(key string) *bucket {
	return &s.buckets[maphash.String(s.seed, key)%buckets]
}

// wait brings the bucket to now and says how long until it has room.
func (b *bucket) wait(a allowance, now time.Time) time.Duration {
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.spent = max(0, b.spent-float64(elapsed)/float64(a.each))
		b.at = now
	}
	if over := b.spent - (a.attempts - 1); over > 0 {
		return max(time.Millisecond, time.Duration(over*float64(a.each)))
	}
	return 0
}

// network is where a remote address (host:port) belongs: an IPv4 address, or the 64 bits of an IPv6 one that a site gets.
func network(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "?"
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64)
		return p.String()
	}
	return ip.String()
}
