package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/server"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Options is how one broker is started. Start checks them all and reports every problem.
type Options struct {
	DataDir     string            // everything on disk
	Listen      []string          // [NAME=]host:port, at least one; port 0 picks a free one
	Advertise   []string          // [NAME=]host:port, what clients are told; as listened where a name is missing
	AdminListen string            // host:port of the admin HTTP listener; empty for none
	Hostname    string            // what clients are told for a listener on all addresses; "" means localhost
	BrokerID    int32             // 0 or more
	Rack        string            // rack or zone; empty for none
	Etcd        []string          // client URLs of an etcd cluster; none means embedded
	Settings    map[string]string // broker settings by Kafka's names
	Insecure    bool              // serve beyond loopback although nothing authenticates

	FS       vfs.FS           // nil: the disk
	Log      *zap.Logger      // nil: none
	LogLevel *zap.AtomicLevel // of Log, to be changed while running; nil: it cannot be

	metadata cluster.Store // in place of an etcd; for tests
}

// flagged are Kafka's names of what a flag of ours says.
var flagged = map[string]string{
	"broker.id": "--broker-id", "node.id": "--broker-id", "listeners": "--listen", "advertised.listeners": "--advertise",
	"log.dir": "--data-dir", "log.dirs": "--data-dir", "broker.rack": "--rack",
}

// plan is the options checked and taken apart.
type plan struct {
	Options
	listen    []server.Endpoint
	advertise map[string]server.Endpoint
	start     map[string]string // Settings in canonical form
}

// check answers the plan, or every problem of the options, each with the setting's name,
// its value and what to do.
func (o Options) check() (*plan, error) {
	p := &plan{Options: o, advertise: map[string]server.Endpoint{}, start: map[string]string{}}
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if len(o.Listen) == 0 {
		complain("listen: empty; give at least one host:port")
	}
	named := map[string]bool{}
	for _, text := range o.Listen {
		e, err := server.ParseEndpoint(text)
		switch {
		case err != nil:
			complain("listen: %w", err)
			continue
		case named[e.Name]:
			complain("listen %q: a second listener named %s; give each its own NAME=", text, e.Name)
		case !loopback(e.Host) && !o.Insecure:
			complain("listen %q: not a loopback address, and nothing authenticates clients; listen on 127.0.0.1 or accept that with --insecure", text)
		}
		named[e.Name] = true
		p.listen = append(p.listen, e)
	}
	for _, text := range o.Advertise {
		e, err := server.ParseEndpoint(text)
		switch {
		case err != nil:
			complain("advertise: %w", err)
			continue
		case !named[e.Name]:
			complain("advertise %q: there is no listener named %s; --listen has %s", text, e.Name, strings.Join(o.Listen, ", "))
		case e.Host == "":
			complain("advertise %q: clients need a host to connect to", text)
		}
		p.advertise[e.Name] = e
	}
	if o.AdminListen != "" {
		host, port, err := net.SplitHostPort(o.AdminListen)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		switch {
		case err != nil:
			complain("admin-listen %q: want host:port, as in 127.0.0.1:9644, or nothing for no admin listener: %w", o.AdminListen, err)
		case !loopback(host) && !o.Insecure:
			complain("admin-listen %q: not a loopback address, and nothing authenticates who reads metrics and profiles; listen on 127.0.0.1 or accept that with --insecure", o.AdminListen)
		}
	}
	for _, text := range o.Etcd {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			complain("etcd %q: want the URL of an etcd client listener, as in http://127.0.0.1:2379", text)
		}
	}
	problems = append(problems, p.checkSettings()...)
	return p, errors.Join(problems...)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (p *plan) checkSettings() []error {
	var problems []error
	names := make([]string, 0, len(p.Settings))
	for name := range p.Settings {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := p.Settings[name]
		k, known := config.Broker().Key(name)
		switch flag := flagged[name]; {
		case flag != "":
			problems = append(problems, fmt.Errorf("set %s=%s: use %s instead", name, value, flag))
			continue
		case !known:
			problems = append(problems, fmt.Errorf("set %s=%s: there is no such broker setting%s", name, value, nearest(name)))
			continue
		}
		canonical, err := k.Parse(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("set %s=%s: %w", name, value, err))
			continue
		}
		p.start[name] = canonical
	}
	return problems
}

// nearest suggests the setting that takes the fewest changed letters to get to, when they are few.
func nearest(name string) string {
	best, least := "", 1+len(name)/4
	for _, k := range config.Broker().Keys() {
		if n := distance(name, k.Name, least); n < least {
			best, least = k.Name, n
		}
	}
	if best == "" {
		return "; Kafka's broker configuration reference lists them"
	}
	return "; did you mean " + best + "?"
}

// distance is how many letters have to be inserted, removed or changed to make a into b (Levenshtein), or limit when it is
// at least that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, diagonal+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}
