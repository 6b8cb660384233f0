package replica

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/logdir"
)

// Options is what a Manager stands on.
type Options struct {
	Dir      *logdir.Dir
	BrokerID int32
	// Start is the broker settings given at start-up, by Kafka's names.
	Start map[string]string
	// Active tells whether the broker's lease is alive by its own clock; asked for each acknowledgement. Nil: always.
	Active func() bool
	// OnLeadership hears of every partition that this broker begins or ends to act as leader of, after the partition itself
	// changed: with the image, and when the broker is fenced or no longer is. Calls do not overlap.
	OnLeadership func(p *Partition, leading bool, epoch int32)
	Log          *zap.Logger
}

// Manager holds this broker's partitions.
type Manager struct {
	o       Options
	topics  sync.Map     // uuid.ID -> *topic
	full    atomic.Bool  // the disk reserve is reached: clients' produces are refused
	fenced  atomic.Bool  // this broker's registration has run out: others may lead what it led
	waiting atomic.Int64 // callbacks parked on all partitions
	ended   atomic.Pointer[error]

	// leadMu is held while partitions take up or give up leadership and OnLeadership hears of it. Taken before Partition.roleMu.
	leadMu sync.Mutex
}

// topic is the partitions of one topic; the slice is replaced when it grows. Entries of
// partitions that other brokers hold are nil.
type topic struct {
	parts atomic.Pointer[[]*Partition]
}

// New makes a manager without partitions; Apply fills it.
func New(o Options) *Manager {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OnLeadership == nil {
		o.OnLeadership = func(*Partition, bool, int32) {}
	}
	if o.Active == nil {
		o.Active = func() bool { return true }
	}
	return &Manager{o: o}
}

// SetDiskFull turns the refusal of clients' produces on or off.
func (m *Manager) SetDiskFull(full bool) { m.full.Store(full) }

// maxWaiting bounds the produce answers that wait for a disk that does not come back: some 200 bytes each, beyond what their
// requests hold while clients wait.
const maxWaiting = 1 << 18

// admits answers why a client's append cannot be taken now, whatever the partition.
func (m *Manager) admits(acks int16) error {
	switch {
	case m.full.Load():
		return ErrDiskFull
	case acks != 0 && m.waiting.Load() >= maxWaiting:
		return ErrBusy
	}
	return nil
}

// SetFenced stops and resumes acting as leader (design section 4, Replication). Whoever waits for an acknowledgement is told
// that it will not come. It is cluster.OnFence's callback, so calls do not overlap.
func (m *Manager) SetFenced(fenced bool) {
	if m.fenced.Swap(fenced) == fenced {
		return
	}
	m.leadMu.Lock()
	defer m.leadMu.Unlock()
	m.Each(func(p *Partition) bool {
		if fenced {
			p.failWaiters(fmt.Errorf("%w: fenced", ErrNotLeader), noEpoch)
		}
		if r := p.role.Load(); r.leading() && p.offline == nil {
			m.o.OnLeadership(p, !fenced, r.epoch)
		}
		p.watchers.wake(p)
		return true
	})
}

// Partition finds a partition this broker holds. ErrUnknown: there is none of that id
// and number here. Whether it leads is each operation's own check.
func (m *Manager) Partition(id uuid.ID, n int32) (*Partition, error) {
	v, ok := m.topics.Load(id)
	if !ok {
		return nil, ErrUnknown
	}
	parts := *v.(*topic).parts.Load()
	if n < 0 || int(n) >= len(parts) || parts[n] == nil {
		return nil, ErrUnknown
	}
	return parts[n], nil
}

// Each calls fn for every partition until it answers false.
func (m *Manager) Each(fn func(*Partition) bool) {
	m.topics.Range(func(_, v any) bool {
		for _, p := range *v.(*topic).parts.Load() {
			if p != nil && !fn(p) {
				return false
			}
		}
		return true
	})
}

// eachOf is Each for the partitions of one topic.
func (m *Manager) eachOf(id uuid.ID, fn func(*Partition) bool) {
	v, ok := m.topics.Load(id)
	if !ok {
		return
	}
	for _, p := range *v.(*topic).parts.Load() {
		if p != nil && !fn(p) {
			return
		}
	}
}

// Offline is how many partitions cannot be used, or not be written, because of their logs.
func (m *Manager) Offline() (n int) {
	m.Each(func(p *Partition) bool {
		if p.offline != nil || p.log.Failure() != nil && !p.Closed() {
			n++
		}
		return true
	})
	return n
}

// Waiting is how many callbacks of WhenDurable are parked.
func (m *Manager) Waiting() int64 { return m.waiting.Load() }

// Apply follows the metadata from old to now: it opens, closes and deletes logs, takes
// and gives up leadership, and refreshes settings. It is cluster.OnChange's callback, so
// calls do not overlap, and whoever asked for a change hears of it after Apply returned.
func (m *Manager) Apply(old, now *cluster.Image) {
	if m.ended.Load() != nil {
		return
	}
	began := time.Now()
	e := m.effective(now)
	var drops, opens []func() error
	for was, is := range now.TopicChanges(old) {
		if is == nil {
			drops = append(drops, m.drop(was)...)
		} else {
			opens = append(opens, m.follow(e, is)...)
		}
	}
	runAll(drops, manyDrops) // before the opening: a topic made again has the old one's directories
	runAll(opens, 4*runtime.GOMAXPROCS(0))
	if err := m.o.Dir.Activate(); err != nil {
		m.o.Log.Error("storage cannot be used", zap.Error(err))
		m.Fail(err)
		return
	}
	m.reconfigure(old, now, e)
	for was, is := range now.TopicChanges(old) {
		if is != nil {
			m.lead(was, is)
		}
	}
	if len(opens) > 1000 {
		m.o.Log.Info("partitions opened", zap.Int("partitions", len(opens)), zap.Duration("took", time.Since(began)))
	}
}

// manyDrops is how many logs are deleted at a time: each waits for a round of the journal that all of them share.
const manyDrops = 128

// runAll runs work, limit of it at a time. A log that does not open makes its partition offline, one that cannot be deleted
// stays for the next start; nothing more, so errors end here.
func runAll(work []func() error, limit int) {
	if len(work) == 1 {
		_ = work[0]()
		return
	}
	var g errgroup.Group
	g.SetLimit(limit)
	for _, w := range work {
		g.Go(w)
	}
	_ = g.Wait()
}

// follow makes the partitions of is that this broker holds and does not have yet; the
// opening of their logs is what it answers.
func (m *Manager) follow(e *effective, is *cluster.Topic) []func() error {
	v, there := m.topics.Load(is.ID)
	if !there {
		t := &topic{}
		t.parts.Store(&[]*Partition{})
		v = t
	}
	t := v.(*topic)
	have := *t.parts.Load()
	parts := make([]*Partition, len(is.Partitions))
	copy(parts, have)
	var open []func() error
	for n := range is.Partitions {
		if parts[n] != nil || !m.holds(&is.Partitions[n]) {
			continue
		}
		p := newPartition(m, is, int32(n), e.of(is.Name))
		parts[n] = p
		open = append(open, p.open)
	}
	if len(open) == 0 && len(parts) == len(have) {
		return nil
	}
	// Published once the logs are open: nobody finds a partition without its log.
	publish := func() {
		t.parts.Store(&parts)
		m.topics.Store(is.ID, t)
	}
	if len(open) == 0 {
		publish()
		return nil
	}
	var left atomic.Int64
	left.Store(int64(len(open)))
	for i, fn := range open {
		open[i] = func() error {
			err := fn()
			if left.Add(-1) == 0 {
				publish()
			}
			return err
		}
	}
	return open
}

func (m *Manager) holds(p *cluster.Partition) bool {
	for _, id := range p.Replicas {
		if id == m.o.BrokerID {
			return true
		}
	}
	return false
}

// lead hands the image's word on leadership to the partitions of a topic.
func (m *Manager) lead(was, is *cluster.Topic) {
	m.leadMu.Lock()
	defer m.leadMu.Unlock()
	for n := range is.Partitions {
		if was != nil && n < len(was.Partitions) && was.Partitions[n].Revision == is.Partitions[n].Revision {
			continue
		}
		p, err := m.Partition(is.ID, int32(n))
		if err != nil || p.offline != nil {
			continue
		}
		before, after := p.become(is.Partitions[n], m.o.BrokerID)
		if before.leading() == after.leading() && (!after.leading() || before.epoch == after.epoch) {
			continue
		}
		if m.fenced.Load() && after.leading() {
			continue // SetFenced tells when it acts as leader
		}
		m.o.OnLeadership(p, after.leading(), after.epoch)
	}
	if end := m.ended.Load(); end != nil { // meanwhile: what was opened since is nobody's to use either
		m.eachOf(is.ID, func(p *Partition) bool { p.close(*end); return true })
	}
}

// drop closes a topic's partitions; the deletion of their records is what it answers.
func (m *Manager) drop(was *cluster.Topic) []func() error {
	m.leadMu.Lock()
	defer m.leadMu.Unlock()
	v, ok := m.topics.LoadAndDelete(was.ID)
	if !ok {
		return nil
	}
	var work []func() error
	for _, p := range *v.(*topic).parts.Load() {
		if p == nil {
			continue
		}
		if r := p.close(ErrUnknown); r.leading() {
			m.o.OnLeadership(p, false, r.epoch)
		}
		work = append(work, p.delete)
	}
	return work
}

// Close ends every partition for those who wait, and the following of images. The logs stay open: they are the
// directory's to close.
func (m *Manager) Close() { m.end(ErrStopped) }

// Fail is Close because storage failed (durability rule 11).
func (m *Manager) Fail(reason error) { m.end(fmt.Errorf("%w: %w", ErrOffline, reason)) }

// end may run beside Apply, which closes what it opened meanwhile.
func (m *Manager) end(why error) {
	m.ended.CompareAndSwap(nil, &why)
	m.Each(func(p *Partition) bool {
		p.close(why)
		return true
	})
}
