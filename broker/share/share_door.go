package share

import (
	"context"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// DoorOptions is what a Door stands on.
type DoorOptions struct {
	Engine      *Engine
	MaxSessions int   // group.share.max.share.sessions
	MaxBytes    int32 // fetch.max.bytes: the most an answer holds, whatever is asked
	// Endpoint is where a broker listens for clients of a listener.
	Endpoint func(image *cluster.Image, id int32, listener string) (host string, port int32, rack *string, ok bool)
}

// Door is share consumers' door to the engine: ShareFetch and ShareAcknowledge, and the sessions they speak in.
//
// A session is of a group and a member id; nobody asks whether the member is in the group, as in Kafka. It ends when its client
// closes it, or with the context of the call that opened it, which is the connection's; all that the member holds is free then,
// forgotten partitions included. Until that is done, the member's next session waits to open, so that nothing of it is taken.
//
// Of a session's requests one is the current: a fetch that waits when the next one comes, over whatever connection, is refused
// at once and takes nothing. What was acquired for an answer that cannot be given any more is given back.
type Door struct {
	o        DoorOptions
	engine   *Engine
	sessions sessions
}

// NewDoor makes a door without sessions.
func NewDoor(o DoorOptions) *Door { return &Door{o: o, engine: o.Engine} }

// Sessions is how many sessions are open.
func (d *Door) Sessions() int { return d.sessions.Len() }

// Close ends all sessions and waits, within ctx, until what their members held is given back. To be called before the engine's
// Close, when no more calls come.
func (d *Door) Close(ctx context.Context) error {
	for _, x := range d.sessions.shut() {
		d.finish(x, errClosed)
	}
	return d.sessions.wait(ctx)
}

// longestMember is the most characters of a member id.
const longestMember = 36

// keyOf is the session that a request names.
func keyOf(group, member *string) (sessionKey, *kerr.Error) {
	if group == nil || member == nil || *member == "" || utf8.RuneCountInString(*member) > longestMember {
		return sessionKey{}, kerr.InvalidRequest
	}
	return sessionKey{*group, *member}, nil
}

func (d *Door) room() room { return room{d.o.MaxSessions, mostSessionPartitions, mostPartitions} }

// bind ends the session with the connection that opened it.
func (d *Door) bind(x *session, c *call.Call) {
	stop := context.AfterFunc(c.Context, func() { d.finish(x, errClosed) }) // it ends soon: Close ends the session if it does not
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over != nil {
		stop()
		return
	}
	x.unhook = stop
}

// finish ends a session and gives back what its member holds.
func (d *Door) finish(x *session, why error) {
	if held, removed := d.sessions.remove(x, why); removed {
		d.release(x.key, held, func() {})
	}
}

// release gives back what a removed session's member holds of these partitions; done is called once, when it is free.
func (d *Door) release(key sessionKey, held []topicPartition, done func()) {
	all := newCountdown(len(held)+1, func() {
		for _, fn := range d.sessions.left(key) {
			d.engine.spawn(fn)
		}
		done()
	})
	for _, tp := range held {
		d.engine.partition(key.of(tp), func(p *partition, err error) {
			if err != nil { // then nobody holds anything here
				all.one()
				return
			}
			p.release(key.member, all.one)
		})
	}
	all.one()
}

// leads says whether the partition exists, and who leads it.
func leads(image *cluster.Image, tp topicPartition) (leader, epoch int32, err error) {
	t := image.TopicByID(tp.topic)
	switch {
	case t == nil:
		return -1, -1, kerr.UnknownTopicID
	case tp.n < 0 || int(tp.n) >= len(t.Partitions):
		return -1, -1, kerr.UnknownTopicOrPartition
	}
	return t.Partitions[tp.n].Leader, t.Partitions[tp.n].LeaderEpoch, nil
}

// pointsElsewhere tells whether a client with this error is told who leads.
func pointsElsewhere(code int16) bool {
	return code == kerr.NotLeaderForPartition.Code || code == kerr.FencedLeaderEpoch.Code
}

// messageOf is a text for an answer, nil for none.
func messageOf(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
