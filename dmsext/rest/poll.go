package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// poll is one retrieval while it waits. It holds nothing of the request that asked, so that the request may go.
type poll struct {
	server                *Server
	tally                 *tally
	id                    string // of the request
	began                 time.Time
	project, queue, group string
	want                  queue.Receive
	cancel                context.CancelFunc

	done     chan struct{} // closed when there is an answer and the poll is not parked
	received []queue.Received
	err      error

	mu       sync.Mutex
	finished bool // there is an answer

	// Of a parked poll.
	conn     *conn
	last     bool          // the connection ends with this answer
	watching bool          // somebody notices when the client leaves:
	fd       int32         // the server's watcher, by the descriptor of conn, or
	watched  chan struct{} // read, which closes this when it has ended; nil: not that
	gone     bool          // the client is; guarded by mu
	ending   bool          // there is an answer; guarded by mu
}

// poll waits for messages, at first with the request. What waits long is parked and answered without it.
func (x *exchange) poll(want queue.Receive) (int, error) {
	s := x.server
	if s.polls.Add(1) > int64(s.limits.LongPolls) {
		s.polls.Add(-1)
		return 0, busy("Too many retrievals are waiting; try again later.")
	}
	p := &poll{server: s, tally: x.route.tally, id: x.id, began: x.began, want: want, done: make(chan struct{}),
		project: x.project, queue: x.queue, group: x.group}
	if len(x.r.RequestURI) > longURL { // else it may live as long as the poll
		p.project, p.queue, p.group = strings.Clone(x.project), strings.Clone(x.queue), strings.Clone(x.group)
		for i, label := range p.want.Labels {
			p.want.Labels[i] = strings.Clone(label)
		}
	}
	// Not below the server's context: thousands of polls would be entries of its children. The handler ends it when the
	// server stops, and for a parked poll Stop does.
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	if !s.begin(func() { p.run(ctx) }) {
		s.polls.Add(-1)
		p.cancel()
		return x.ended(nil, nil)
	}
	asleep := x.sleep(s.limits.ParkAfter)
	if x.conn == nil || s.limits.ParkAfter < 0 || !x.r.ProtoAtLeast(1, 1) {
		asleep = nil
	}
	for {
		select {
		case <-p.done:
			return x.ended(p.received, p.err)
		case <-asleep:
			if x.park(p) {
				return 0, nil
			}
			asleep = nil
		case <-x.r.Context().Done():
			p.cancel()
			<-p.done
			return x.ended(p.received, p.err)
		case <-s.ctx.Done():
			p.cancel()
			<-p.done
			return x.ended(p.received, p.err)
		}
	}
}

// longURL is what a URL may have of which a poll keeps parts: labels with all the rest.
const longURL = 1 << 10

// sleep starts the exchange's timer.
func (x *exchange) sleep(d time.Duration) <-chan time.Time {
	if x.timer == nil {
		x.timer = time.NewTimer(d)
	} else {
		x.timer.Reset(d)
	}
	return x.timer.C
}

// begin runs f in a goroutine that Stop waits for; false: the server is stopped.
func (s *Server) begin(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.goroutines.Go(f)
	return true
}

// ended answers a poll that was not parked.
func (x *exchange) ended(received []queue.Received, err error) (int, error) {
	if err != nil {
		if x.server.ctx.Err() == nil || !interrupted(err) {
			return 0, err
		}
		received = nil // the server stops: nothing has come
	}
	x.answer.b = appendReceived(slices.Grow(x.answer.b, receivedSize(received)), received)
	return answered, nil
}

// run asks the queue, and answers itself if the poll was parked meanwhile.
func (p *poll) run(ctx context.Context) {
	s := p.server
	defer s.polls.Add(-1)
	defer p.cancel()
	p.received, p.err = s.queues.Receive(ctx, p.project, p.queue, p.group, p.want)
	p.mu.Lock()
	p.finished = true
	parked := p.conn != nil
	p.mu.Unlock()
	if !parked {
		close(p.done)
		return
	}
	p.finish()
}

// park takes the connection from net/http and leaves it to the poll; false: net/http keeps it.
func (x *exchange) park(p *poll) bool {
	raw, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return false
	}
	s := x.server
	c := x.conn
	if raw != c { // a wrapper of somebody else's: it can not come back, so it ends with this answer
		p.last = true
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		begun, _ := buffered.Reader.Peek(n)
		c.pending = append(begun[:n:n], c.pending...)
	}
	p.last = p.last || x.r.Close
	s.metrics.parked.Inc()
	s.mu.Lock()
	s.parked[p] = c
	s.mu.Unlock()

	if s.ctx.Err() != nil { // Stop may have looked at the parked polls before
		p.cancel()
	}
	p.mu.Lock()
	p.conn = c
	finished := p.finished
	if p.watching = !finished && len(c.pending) == 0; p.watching && !s.watcher.add(p) {
		p.watched = make(chan struct{})
		if !s.begin(p.read) {
			close(p.watched)
		}
	}
	p.mu.Unlock()
	if finished {
		p.finish()
	}
	return true
}

// leave is told that the client has left.
func (p *poll) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ending {
		p.gone = true
		p.cancel()
	}
}

// read waits for the client to leave, where the watcher can not. What it sends instead belongs to its next request.
func (p *poll) read() {
	defer close(p.watched)
	one := make([]byte, 1)
	n, err := p.conn.Conn.Read(one)
	if n > 0 {
		p.conn.pending = one
		return
	}
	if err != nil {
		p.leave()
	}
}

// finish answers a parked poll and gives its connection back.
func (p *poll) finish() {
	s, c := p.server, p.conn
	p.mu.Lock()
	p.ending = true
	gone := p.gone
	p.mu.Unlock()
	switch {
	case p.watching && p.watched == nil:
		s.watcher.remove(p)
	case p.watching:
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends read
		<-p.watched
		_ = c.SetReadDeadline(time.Time{})
	}
	s.mu.Lock()
	delete(s.parked, p)
	s.mu.Unlock()

	stopping := s.ctx.Err() != nil
	p.last = p.last || stopping
	status := 0
	if gone {
		p.tally.count(statusGone, time.Since(p.began))
	} else {
		status = p.write(stopping)
	}
	if status == 0 || p.last {
		_ = c.Close()
		return
	}
	if c.resting = len(c.pending) == 0; c.resting && !s.resting.add(c) {
		_ = c.Close()
		return
	}
	c.from.hand(c)
}

// write sends the answer and gives its status; 0: the client is gone.
func (p *poll) write(stopping bool) int {
	s := p.server
	status, body := answered, []byte(nil)
	var after string
	switch {
	case p.err == nil, stopping && interrupted(p.err):
		body = appendReceived(make([]byte, 0, receivedSize(p.received)), p.received)
	default:
		e, known := failure(p.err)
		if !known {
			s.log.Error("HTTP request failed", zap.String("request_id", p.id), zap.String("call", p.tally.name), zap.Error(p.err))
		}
		status, after = e.Status, retryAfter(e)
		body = appendError(nil, e, p.id)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(s.limits.WriteTime))
	_, err := p.conn.Write(append(p.head(status, len(body), after), body...))
	_ = p.conn.SetWriteDeadline(time.Time{})
	took := time.Since(p.began)
	p.tally.count(status, took)
	if s.log.Core().Enabled(zap.DebugLevel) {
		s.log.Debug("HTTP request", zap.String("request_id", p.id), zap.String("call", p.tally.name), zap.Int("status", status), zap.Bool("parked", true),
			zap.Duration("took", took), zap.Stringer("client", p.conn.RemoteAddr()), zap.Int("bytes_out", len(body)), zap.Error(err))
	}
	if err != nil {
		return 0
	}
	return status
}

// statusGone counts requests whose client did not wait for the answer.
const statusGone = 499

// head is an answer's status line and headers.
func (p *poll) head(status, length int, retryAfter string) []byte {
	b := make([]byte, 0, 256+length)
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
	b = append(append(b, ' '), http.StatusText(status)...)
	b = append(b, "\r\nContent-Type: application/json\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(append(b, "\r\nX-Request-Id: "...), p.id...)
	if retryAfter != "" {
		b = append(append(b, "\r\nRetry-After: "...), retryAfter...)
	}
	if p.last {
		b = append(b, "\r\nConnection: close"...)
	}
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(length), 10)
	return append(b, "\r\n\r\n"...)
}
