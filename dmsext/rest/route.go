package rest

import (
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// handler does a call. It leaves the answer's body in x.answer and gives its status; 0: the answer is on its way already.
type handler func(x *exchange) (status int, err error)

// call is one thing that clients can ask for.
type call struct {
	name   string // in metrics and in the OpenAPI document
	method string
	path   string // below /{version}/{project_id}
	limit  int    // of its body in bytes
	run    handler
}

// calls are sections 2 to 8 of the DMS reference, and the last three are ours, for operators. Both dialects have all of them (D2); of the quotas each has its own
// path, and both serve both.
var calls = []call{
	{"createQueue", http.MethodPost, "/queues", controlBytes, (*exchange).createQueue},
	{"listQueues", http.MethodGet, "/queues", controlBytes, (*exchange).listQueues},
	{"showQueue", http.MethodGet, "/queues/{queue_id}", controlBytes, (*exchange).showQueue},
	{"deleteQueue", http.MethodDelete, "/queues/{queue_id}", controlBytes, (*exchange).deleteQueue},

	{"createGroups", http.MethodPost, "/queues/{queue_id}/groups", controlBytes, (*exchange).createGroups},
	{"listGroups", http.MethodGet, "/queues/{queue_id}/groups", controlBytes, (*exchange).listGroups},
	{"deleteGroup", http.MethodDelete, "/queues/{queue_id}/groups/{group_id}", controlBytes, (*exchange).deleteGroup},

	{"sendMessages", http.MethodPost, "/queues/{queue_id}/messages", sendBytes, (*exchange).send},
	{"consumeMessages", http.MethodGet, "/queues/{queue_id}/groups/{group_id}/messages", controlBytes, (*exchange).receive},
	{"acknowledgeMessages", http.MethodPost, "/queues/{queue_id}/groups/{group_id}/ack", ackBytes, (*exchange).ack},
	{"consumeDeadLetters", http.MethodGet, "/queues/{queue_id}/groups/{group_id}/deadletters", controlBytes, (*exchange).receiveDead},
	{"acknowledgeDeadLetters", http.MethodPost, "/queues/{queue_id}/groups/{group_id}/deadletters/ack", ackBytes, (*exchange).ackDead},

	{"showQuotas", http.MethodGet, "/quotas/dms", controlBytes, (*exchange).showQuotas},
	{"showQuotasV2", http.MethodGet, "/quotas", controlBytes, (*exchange).showQuotas},

	{"putTag", http.MethodPost, "/queue/{queue_id}/tags", controlBytes, (*exchange).putTag},
	{"changeTags", http.MethodPost, "/queue/{queue_id}/tags/action", controlBytes, (*exchange).changeTags},
	{"deleteTag", http.MethodDelete, "/queue/{queue_id}/tags/{key}", controlBytes, (*exchange).deleteTag},
	{"listTags", http.MethodGet, "/queue/{queue_id}/tags", controlBytes, (*exchange).listTags},
	{"listProjectTags", http.MethodGet, "/queue/tags", controlBytes, (*exchange).listProjectTags},
	{"searchQueues", http.MethodPost, "/queue/resource_instances/action", controlBytes, (*exchange).searchQueues},

	{"purgeQueue", http.MethodPost, "/queues/{queue_id}/purge", controlBytes, (*exchange).purge},
	{"listLeases", http.MethodGet, "/queues/{queue_id}/groups/{group_id}/leases", controlBytes, (*exchange).listLeases},
	{"settleLease", http.MethodPost, "/queues/{queue_id}/groups/{group_id}/leases/settle", controlBytes, (*exchange).settleLease},
}

// dialects are the first segments of the paths above.
var dialects = []string{"v1.0", "v2"}

// route is a call in the tree.
type route struct {
	call
	tally *tally
}

// node is a segment of the paths.
type node struct {
	static  map[string]*node
	param   *node
	name    string // of the parameter that this node stands for
	methods map[string]*route
	allow   string // the methods, as the header names them
}

func (n *node) child(segment string) *node {
	if name, ok := strings.CutPrefix(segment, "{"); ok {
		if n.param == nil {
			n.param = &node{name: strings.TrimSuffix(name, "}")}
		}
		return n.param
	}
	if n.static == nil {
		n.static = map[string]*node{}
	}
	if n.static[segment] == nil {
		n.static[segment] = &node{}
	}
	return n.static[segment]
}

// routes makes the tree of what stands below the project.
func (s *Server) routes() *node {
	root := &node{}
	for _, c := range calls {
		at := root
		for segment := range strings.SplitSeq(c.path[1:], "/") {
			at = at.child(segment)
		}
		if at.methods == nil {
			at.methods = map[string]*route{}
		}
		r := &route{call: c, tally: s.metrics.tally(c.name)}
		at.methods[c.method] = r
		if c.method == http.MethodGet && !c.waits() {
			at.methods[http.MethodHead] = r
		}
		at.allow = allow(at.methods)
	}
	return root
}

// waits tells whether the call leases messages: a HEAD request for it would take them from everybody and show nobody.
func (c *call) waits() bool { return c.name == "consumeMessages" || c.name == "consumeDeadLetters" }

func allow(methods map[string]*route) string {
	names := []string{http.MethodOptions}
	for m := range methods {
		names = append(names, m)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// decodeUnreserved decodes the letters, digits, hyphens, dots, underscores and tildes of a path that are percent-encoded, and
// nothing else: encoded or not they are the same (RFC 3986, 6.2.2.2). An encoded slash stays encoded. The path has to be
// well encoded.
func decodeUnreserved(path string) string {
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c := unhex(path[i+1])<<4 | unhex(path[i+2]); isUnreserved(c) {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, path[i])
	}
	return string(b)
}

// unhex is the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c >= '0' && c <= '9' {
		return c - '0'
	}
	return c&0x0f + 9
}

func isUnreserved(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// find walks down the tree by what follows the project in the path, keeping the parameters. Segments are decoded after
// they were split: an encoded slash does not split. The tree's own names are of characters that need no encoding, so the
// path is compared with them as decodeUnreserved left it.
func (x *exchange) find(rest string, encoded bool) *node {
	at := x.server.tree
	for rest != "" {
		segment, more, slash := strings.Cut(rest, "/")
		next := at.static[segment]
		if next == nil || more == "" && x.misses(next) && !x.misses(at.param) { // the tag with the key "action" is deleted as any other
			if next = at.param; next == nil {
				return nil
			}
			if encoded {
				plain, err := url.PathUnescape(segment)
				if err != nil {
					return nil
				}
				segment = plain
			}
			x.set(next.name, segment)
		}
		at = next
		if rest = more; slash && rest == "" { // a path that ends with a slash has an empty last segment
			if at.param == nil {
				return nil
			}
			at = at.param
			x.set(at.name, "")
		}
	}
	if at.methods == nil {
		return nil
	}
	return at
}

// misses tells whether the node has no call by the request's method.
func (x *exchange) misses(n *node) bool { return n == nil || n.methods[x.r.Method] == nil }

func (x *exchange) set(name, value string) {
	switch name {
	case "queue_id":
		x.queue = value
	case "group_id":
		x.group = value
	case "key":
		x.key = value
	}
}
