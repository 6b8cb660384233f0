package identity

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Options says what a Service stands on.
type Options struct {
	Broker    Broker
	PublicURL string           // how clients reach the HTTP listener, as http://host:port: addresses in the catalog begin so; "", or all addresses as the host: where a request arrived
	Region    string           // name of the one region in the catalog; "": local
	Loopback  bool             // only this machine reaches the HTTP listener
	Insecure  bool             // open mode also where others reach it
	Skew      time.Duration    // how far the time of a signature may be off, either way; 0: 15 minutes
	Now       func() time.Time // nil: time.Now
	Log       *zap.Logger      // nil: none
}

// Service answers who a request is from, and keeps projects, users and access keys. Safe for concurrent use; it has no
// goroutines and nothing to close.
type Service struct {
	docs      documents
	url       string
	region    string
	loopback  bool
	insecure  bool
	skew      time.Duration
	now       func() time.Time
	log       *zap.Logger
	passwords *passwords
	slow      *slowdown
	strangers string // the secret that a signature with an unknown access key is verified with
}

// New makes a Service.
func New(o Options) *Service {
	s := &Service{
		docs: documents{broker: o.Broker}, url: reachable(o.PublicURL), region: cmp.Or(o.Region, "local"),
		loopback: o.Loopback, insecure: o.Insecure, skew: cmp.Or(o.Skew, 15*time.Minute), now: o.Now, log: o.Log,
		passwords: newPasswords(defaultCost), slow: newSlowdown(), strangers: randomText(secretLetters, secretLength),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	return s
}

// reachable is the URL without what can not stand in an address: a slash at the end, or a host that is no address but all of
// them ("http://0.0.0.0:9080").
func reachable(text string) string {
	if u, err := url.Parse(text); err == nil {
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
			return ""
		}
	}
	return strings.TrimRight(text, "/")
}

// ErrOpen is why a broker refuses to serve HTTP beyond its own machine.
var ErrOpen = errors.New("no user is defined, and the HTTP listener is not on loopback: anybody could use the queues; listen on loopback and create a user first, or allow it with --insecure")

// Acceptable tells whether the HTTP listener may be opened: ErrOpen when others than this machine's users reach it and there
// is no user yet, unless that is said to be intended.
func (s *Service) Acceptable(ctx context.Context) error {
	if s.loopback || s.insecure {
		return nil
	}
	if there, err := s.docs.any(ctx, private.KindUsers, ""); err != nil || there {
		return err
	}
	return ErrOpen
}

// open tells whether requests need no credentials now: nobody could have any, and whoever reaches the listener is meant to.
func (s *Service) open(ctx context.Context) (bool, error) {
	if !s.loopback && !s.insecure {
		return false, nil
	}
	there, err := s.docs.any(ctx, private.KindUsers, "")
	return err == nil && !there, err
}

// IsLoopback tells whether only this machine reaches a listener on that host (an address or "localhost").
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

var crossOrigin = http.NewCrossOriginProtection()

// foreignPage tells whether a browser sent this on behalf of a page from elsewhere: in open mode there is no secret that such a
// page would lack. Reading counts too: to retrieve messages is a GET.
func foreignPage(r *http.Request) bool {
	return crossOrigin.Check(r) != nil || r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// hostName is the host that a request names, without a port and brackets.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

// isAddress tells whether a host is one that nobody else's name server has led a browser to.
func isAddress(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil
}

// named tells whether a request was sent to this listener by a name of its own. A page whose host name was made to point here
// (DNS rebinding) is of one origin with it, and only the name that its requests bear tells them apart. Browsers always send one.
func (s *Service) named(host string) bool {
	if host == "" || isAddress(hostName(host)) {
		return true
	}
	u, err := url.Parse(s.url)
	return err == nil && u.Hostname() != "" && strings.EqualFold(u.Hostname(), hostName(host))
}
