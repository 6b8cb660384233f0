package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// fakeBroker keeps documents as the broker's image does: revisions grow with every write, conditions hold all together.
type fakeBroker struct {
	mu       sync.Mutex
	revision int64
	docs     map[string]private.Document // kind, NUL, name
	reads    int
	down     bool
	between  func() // called once before the next write is looked at, without the lock
}

func newFakeBroker() *fakeBroker { return &fakeBroker{docs: map[string]private.Document{}} }

var errDown = errors.New("the broker is down")

func (b *fakeBroker) Do(_ context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	if principal != private.Principal {
		return nil, errors.New("another principal: " + principal)
	}
	b.mu.Lock()
	if w, ok := req.(*private.WriteDocumentsRequest); ok {
		between := b.between
		b.between = nil
		if between != nil {
			b.mu.Unlock()
			between()
			b.mu.Lock()
		}
		defer b.mu.Unlock()
		if b.down {
			return nil, errDown
		}
		return b.write(w), nil
	}
	defer b.mu.Unlock()
	if b.down {
		return nil, errDown
	}
	b.reads++
	return b.read(req.(*private.ReadDocumentsRequest)), nil
}

func (b *fakeBroker) read(req *private.ReadDocumentsRequest) *private.ReadDocumentsResponse {
	resp := &private.ReadDocumentsResponse{}
	if !req.Prefix {
		if d, ok := b.docs[req.Kind+"\x00"+req.Name]; ok {
			resp.Documents = append(resp.Documents, d)
		}
		return resp
	}
	var names []string
	for key := range b.docs {
		name, ok := strings.CutPrefix(key, req.Kind+"\x00")
		if ok && strings.HasPrefix(name, req.Name) && name > req.After {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if req.Limit > 0 && len(names) > int(req.Limit) {
		names, resp.More = names[:req.Limit], true
	}
	for _, name := range names {
		resp.Documents = append(resp.Documents, b.docs[req.Kind+"\x00"+name])
	}
	return resp
}

func (b *fakeBroker) write(req *private.WriteDocumentsRequest) *private.WriteDocumentsResponse {
	seen := map[string]bool{}
	for _, c := range req.Then {
		if key := c.Kind + "\x00" + c.Name; seen[key] {
			return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidRequest.Code, ErrorMessage: "changed twice: " + key}
		} else {
			seen[key] = true
		}
	}
	if len(req.If) > 60 || len(req.Then) > 60 {
		return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidRequest.Code, ErrorMessage: "too many"}
	}
	for _, c := range req.If {
		d, there := b.docs[c.Kind+"\x00"+c.Name]
		if c.Revision == private.Exists && !there || c.Revision != private.Exists && d.Revision != c.Revision {
			return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidUpdateVersion.Code}
		}
	}
	b.revision++
	for _, c := range req.Then {
		key := c.Kind + "\x00" + c.Name
		if c.Delete {
			delete(b.docs, key)
		} else {
			b.docs[key] = private.Document{Name: c.Name, Value: slices.Clone(c.Value), Revision: b.revision}
		}
	}
	return &private.WriteDocumentsResponse{Revision: b.revision}
}

// put writes a document past all conditions, as another part of the service would.
func (b *fakeBroker) put(kind, name, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revision++
	b.docs[kind+"\x00"+name] = private.Document{Name: name, Value: []byte(value), Revision: b.revision}
}

func (b *fakeBroker) count(kind string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.docs {
		if strings.HasPrefix(key, kind+"\x00") {
			n++
		}
	}
	return n
}

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cheap is a cost of hashing for tests that are not about it.
var cheap = cost{passes: 1, kib: 8}

const (
	testProject  = "0123456789abcdef0123456789abcdef"
	otherProject = "ffffffffffffffffffffffffffffffff"
	testAccess   = "AKEXAMPLE"
	testSecret   = "SKEXAMPLE"
)

// world is a service over a fake broker, at the time of the reference's test vectors.
type world struct {
	*Service
	broker *fakeBroker
	clock  *clock
}

func newWorld(t testing.TB, alter ...func(*Options)) *world {
	t.Helper()
	w := &world{broker: newFakeBroker(), clock: &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}
	w.Service = w.another(alter...)
	return w
}

// another is a second broker of the same cluster.
func (w *world) another(alter ...func(*Options)) *Service {
	o := Options{Broker: w.broker, PublicURL: "http://queues.example.test:9080/", Region: "eu-de", Loopback: true, Now: w.clock.Now}
	for _, f := range alter {
		f(&o)
	}
	s := New(o)
	s.passwords = newPasswords(cheap)
	return s
}

// populated has project "local" (testProject) and "other", the administrator root, alice of "local" with the access key of the
// test vectors, and bob of "other".
func populated(t testing.TB, alter ...func(*Options)) *world {
	t.Helper()
	w := newWorld(t, alter...)
	ctx := context.Background()
	for _, p := range []NewProject{{ID: testProject, Name: "local"}, {ID: otherProject, Name: "other", Domain: "acme"}} {
		_, err := w.CreateProject(ctx, p)
		require.NoError(t, err)
	}
	for _, u := range []NewUser{
		{Name: "root", Password: "root's password"},
		{Name: "alice", Password: "alice's password", Projects: []string{"local"}},
		{Name: "bob", Password: "bob's password", Domain: "acme", Projects: []string{"other"}},
	} {
		_, err := w.CreateUser(ctx, u)
		require.NoError(t, err)
	}
	w.addKey(t, "alice", testProject, testAccess, testSecret)
	return w
}

// addKey makes an access key with given letters.
func (w *world) addKey(t testing.TB, user, project, access, secret string) {
	t.Helper()
	ctx := context.Background()
	sealing, err := w.sealing(ctx)
	require.NoError(t, err)
	doc := &accessKey{AccessKey: AccessKey{Access: access, User: user}}
	require.NoError(t, w.createAccessKey(ctx, doc, project, secret, sealing))
}
