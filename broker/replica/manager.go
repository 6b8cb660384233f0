package replica

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/logdir"
)

// Options is what a Manager stands on.
type Options struct {
	Dir      *logdir.Dir
	BrokerID int32
	// Start is the broker settings given at start-up, by Kafka's names.
	Start map[string]string
	// ProducerExpiry is producer.id.expiration.ms.
	ProducerExpiry time.Duration
	// OnLeadership hears of every partition whose leadership begins or ends here, after
	// the partition itself changed. It runs on the image's goroutine.
	OnLeadership func(p *Partition, leading bool, epoch int32)
	Log          *zap.Logger
}

// Manager holds this broker's partitions.
type Manager struct {
	o      Options
	topics sync.Map    // uuid.ID -> *topic
	full   atomic.Bool // the disk reserve is reached: clients' produces are refused
	fenced atomic.Bool // this broker's registration has run out: others may lead what it led
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
	return &Manager{o: o}
}

// SetDiskFull turns the refusal of clients' produces on or off.
func (m *Manager) SetDiskFull(full bool) { m.full.Store(full) }

// SetFenced stops and resumes acting as leader (design section 4, Replication).
func (m *Manager) SetFenced(fenced bool) { m.fenced.Store(fenced) }

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

// Apply follows the metadata from old to now: it opens, closes and deletes logs, takes
// and gives up leadership, and refreshes settings. It is cluster.OnChange's callback, so
// calls do not overlap, and whoever asked for a change hears of it after Apply returned.
func (m *Manager) Apply(old, now *cluster.Image) {
	began := time.Now()
	var work []func() error
	settings := m.changedSettings(old, now)
	opened := 0
	for was, is := range now.TopicChanges(old) {
		if is == nil {
			m.drop(was)
			continue
		}
		tasks := m.follow(now, is)
		opened += len(tasks)
		work = append(work, tasks...)
	}
	m.runAll(work)
	if err := m.o.Dir.Activate(); err != nil {
		m.o.Log.Error("storage cannot be used", zap.Error(err))
		m.Fail(err)
		return
	}
	settings(now)
	for was, is := range now.TopicChanges(old) {
		if is != nil {
			m.lead(was, is)
		}
	}
	if opened > 1000 {
		m.o.Log.Info("partitions opened", zap.Int("partitions", opened), zap.Duration("took", time.Since(began)))
	}
}

func (m *Manager) runAll(work []func() error) {
	if len(work) == 1 {
		_ = work[0]()
		return
	}
	var g errgroup.Group
	g.SetLimit(4 * runtime.GOMAXPROCS(0))
	for _, w := range work {
		g.Go(w)
	}
	_ = g.Wait() // a log that does not open makes its partition offline, nothing more
}

// follow makes the partitions of is that this broker holds and does not have yet; the
// opening of their logs is what it answers.
func (m *Manager) follow(image *cluster.Image, is *cluster.Topic) []func() error {
	v, _ := m.topics.LoadOrStore(is.ID, func() *topic {
		t := &topic{}
		t.parts.Store(&[]*Partition{})
		return t
	}())
	t := v.(*topic)
	parts := make([]*Partition, len(is.Partitions))
	copy(parts, *t.parts.Load())
	var open []func() error
	var settings *config.TopicSettings
	for n := range is.Partitions {
		if parts[n] != nil || !m.holds(&is.Partitions[n]) {
			continue
		}
		if settings == nil {
			s := m.layers(image, is.Name).Topic()
			settings = &s
		}
		p := &Partition{Topic: is.Name, ID: is.ID, Number: int32(n), Internal: is.Internal, manager: m}
		p.settings.Store(settings)
		p.role.Store(&role{leader: cluster.NoLeader, epoch: -1})
		parts[n] = p
		open = append(open, p.open)
	}
	if len(open) == 0 && len(parts) == len(*t.parts.Load()) {
		return nil
	}
	// Published once the logs are open: nobody finds a partition without its log.
	var left atomic.Int64
	left.Store(int64(len(open)))
	publish := func() { t.parts.Store(&parts) }
	if len(open) == 0 {
		publish()
	}
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

// open opens the partition's log, or makes the partition offline with the reason.
func (p *Partition) open() error {
	l, err := p.manager.o.Dir.OpenLog(p.Topic, p.ID, p.Number, LogConfig(p.settings.Load(), p.Internal, p.manager.o.ProducerExpiry), p.flushes())
	if l != nil {
		p.log = l
	}
	if err != nil {
		p.offline = err
		p.manager.o.Log.Error("partition is offline", zap.String("topic", p.Topic), zap.Int32("partition", p.Number), zap.Error(err))
		return err
	}
	p.hw.Store(p.ownEnd())
	l.SetHighWatermark(p.hw.Load())
	l.OnFlushed(func(int64) { p.ownAdvanced() })
	return nil
}

// lead hands the image's word on leadership to the partitions of a topic.
func (m *Manager) lead(was, is *cluster.Topic) {
	for n := range is.Partitions {
		if was != nil && n < len(was.Partitions) && was.Partitions[n].Revision == is.Partitions[n].Revision {
			continue
		}
		p, err := m.Partition(is.ID, int32(n))
		if err != nil || p.offline != nil {
			continue
		}
		before, after := p.become(is.Partitions[n], m.o.BrokerID)
		if before.leading != after.leading || after.leading && before.epoch != after.epoch {
			m.o.OnLeadership(p, after.leading, after.epoch)
		}
	}
}

// drop deletes a topic's partitions with their records.
func (m *Manager) drop(was *cluster.Topic) {
	v, ok := m.topics.LoadAndDelete(was.ID)
	if !ok {
		return
	}
	for _, p := range *v.(*topic).parts.Load() {
		if p == nil {
			continue
		}
		leading, epoch := p.role.Load().leading, p.Epoch()
		p.close(ErrUnknown)
		if leading {
			m.o.OnLeadership(p, false, epoch)
		}
		if p.log == nil {
			continue
		}
		if err := m.o.Dir.DeleteLog(p.log); err != nil && !errors.Is(err, log.ErrClosed) {
			m.o.Log.Error("log not deleted", zap.String("topic", p.Topic), zap.Int32("partition", p.Number), zap.Error(err))
		}
	}
}

// Close ends every partition for those who wait. The logs stay open: they are the
// directory's to close.
func (m *Manager) Close() {
	m.Each(func(p *Partition) bool {
		p.close(ErrStopped)
		return true
	})
}

// Fail ends every partition because its storage failed (durability rule 11).
func (m *Manager) Fail(reason error) {
	m.Each(func(p *Partition) bool {
		p.close(fmt.Errorf("%w: %w", ErrOffline, reason))
		return true
	})
}

// layers is the settings that stand behind a topic in an image.
func (m *Manager) layers(image *cluster.Image, topic string) config.Layers {
	return Layers(image, m.o.BrokerID, m.o.Start, topic)
}

// Layers is the settings that stand behind a topic ("" for none), as an image has them.
func Layers(image *cluster.Image, broker int32, start map[string]string, topic string) config.Layers {
	l := config.Layers{
		OneBroker:  image.Config("broker", fmt.Sprint(broker)),
		AllBrokers: image.Config("broker", cluster.DefaultName),
		Start:      start,
	}
	if topic != "" {
		l.Own = image.Config("topic", topic)
	}
	return l
}

// changedSettings looks at what differs and answers how to bring partitions up to date.
func (m *Manager) changedSettings(old, now *cluster.Image) func(*cluster.Image) {
	var names []string
	all := false
	for kind, name := range now.ConfigChanges(old) {
		switch kind {
		case "topic":
			names = append(names, name)
		case "broker":
			all = true
		}
	}
	return func(image *cluster.Image) {
		if all {
			names = names[:0]
			for t := range image.Topics() {
				names = append(names, t.Name)
			}
		}
		for _, name := range names {
			m.refresh(image, name)
		}
	}
}

// refresh puts a topic's effective settings into force.
func (m *Manager) refresh(image *cluster.Image, name string) {
	t := image.Topic(name)
	if t == nil {
		return
	}
	settings := m.layers(image, name).Topic()
	for n := range t.Partitions {
		p, err := m.Partition(t.ID, int32(n))
		if err != nil || p.log == nil || *p.settings.Load() == settings {
			continue
		}
		p.settings.Store(&settings)
		m.o.Dir.Configure(p.log, LogConfig(&settings, p.Internal, m.o.ProducerExpiry), p.flushes())
		if p.offline == nil {
			p.ownAdvanced()
		}
	}
}

// LogConfig is a topic's settings as its logs take them. Internal topics hold records as large as their coordinators need
// (durability rules of coordinators, 5).
func LogConfig(s *config.TopicSettings, internal bool, producerExpiry time.Duration) log.Config {
	c := log.DefaultConfig()
	ms := func(n int64) time.Duration {
		if n > int64(1<<63-1)/int64(time.Millisecond) {
			return time.Duration(1<<63 - 1)
		}
		return time.Duration(n) * time.Millisecond
	}
	c.SegmentBytes, c.SegmentTime, c.SegmentJitter = s.SegmentBytes, ms(s.SegmentMs), ms(s.SegmentJitterMs)
	if s.Compact {
		c.SegmentTime = min(c.SegmentTime, ms(s.MaxCompactionLagMs)) // the active segment is never compacted
	}
	c.IndexBytes, c.IndexInterval = s.SegmentIndexBytes, s.IndexIntervalBytes
	c.Delete, c.Compact = s.Delete, s.Compact
	c.RetentionTime, c.RetentionBytes, c.DeleteDelay = ms(s.RetentionMs), s.RetentionBytes, ms(s.FileDeleteDelayMs)
	c.MinDirtyRatio, c.DeleteRetention = s.MinCleanableDirtyRatio, ms(s.DeleteRetentionMs)
	c.MinCompactionLag, c.MaxCompactionLag = ms(s.MinCompactionLagMs), ms(s.MaxCompactionLagMs)
	c.MaxMessageBytes, c.MaxRecordBytes, c.LogAppendTime = s.MaxMessageBytes, int(s.MaxDecompressedBytes), s.LogAppendTime
	c.TimestampBefore, c.TimestampAfter = ms(s.TimestampBeforeMaxMs), ms(s.TimestampAfterMaxMs)
	if internal {
		c.MaxMessageBytes = max(c.MaxMessageBytes, internalMessageBytes)
	}
	if compression, ok := record.ParseCompression(s.CompressionType); ok {
		compression.Level = s.CompressionLevel
		c.Compression = compression
	}
	c.ProducerExpiry = producerExpiry
	return c
}

// internalMessageBytes bounds a coordinator's batch.
const internalMessageBytes = 32 << 20
