package golden

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// edition chooses the version of every API in a run.
type edition int

const (
	lowest edition = iota
	highest
)

func (e edition) String() string { return [...]string{"lowest", "highest"}[e] }

// served is what Apache Kafka 4.4.0 serves of the APIs under test, in the order of their
// keys. Produce is advertised from 0 on and served from 3.
var served = map[kmsg.Key][2]int16{
	kmsg.Produce: {3, 13}, kmsg.Fetch: {4, 18}, kmsg.ListOffsets: {1, 11}, kmsg.Metadata: {0, 13},
	kmsg.OffsetCommit: {2, 10}, kmsg.OffsetFetch: {1, 10}, kmsg.FindCoordinator: {0, 6}, kmsg.JoinGroup: {0, 9},
	kmsg.Heartbeat: {0, 4}, kmsg.LeaveGroup: {0, 5}, kmsg.SyncGroup: {0, 5}, kmsg.DescribeGroups: {0, 6},
	kmsg.ListGroups: {0, 5}, kmsg.ApiVersions: {0, 5}, kmsg.CreateTopics: {2, 7}, kmsg.DeleteTopics: {1, 6},
	kmsg.DeleteRecords: {0, 2}, kmsg.InitProducerID: {0, 5}, kmsg.OffsetForLeaderEpoch: {2, 4},
	kmsg.DescribeConfigs: {1, 4}, kmsg.AlterConfigs: {0, 2}, kmsg.DescribeLogDirs: {1, 5},
	kmsg.DeleteGroups: {0, 3}, kmsg.OffsetDelete: {0, 0}, kmsg.CreatePartitions: {0, 3}, kmsg.IncrementalAlterConfigs: {0, 1}, kmsg.DescribeQuorum: {0, 2},
	kmsg.DescribeCluster: {0, 2}, kmsg.DescribeProducers: {0, 0}, kmsg.ListConfigResources: {0, 1},
	kmsg.DescribeTopicPartitions: {0, 0},
}

// exchange is one request and the text of what came of it.
type exchange struct {
	title string
	lines []string
}

func (x exchange) String() string { return strings.Join(append([]string{x.title}, x.lines...), "\n") }

// script is one run of a scenario.
type script struct {
	t       *testing.T
	addr    string
	name    string
	edition edition
	mask    *mask
	conns   map[string]*conn
	log     []exchange
}

func play(t *testing.T, addr, name string, e edition, run func(*script)) []exchange {
	s := &script{t: t, addr: addr, name: name, edition: e, mask: newMask(), conns: map[string]*conn{}}
	defer func() {
		for _, c := range s.conns {
			c.close()
		}
	}()
	run(s)
	return s.log
}

// topicName is a name of this run alone.
func (s *script) topicName(n string) string {
	return fmt.Sprintf("%s-%s-%s", s.name, s.edition, n)
}

// at is the version of an API in this run.
func (s *script) at(key kmsg.Key) int16 {
	v, ok := served[key]
	require.True(s.t, ok, "%s is not in the table of what is under test", key.Name())
	return v[s.edition]
}

// conn is the connection of that name; a new one after the last was closed.
func (s *script) conn(name string) *conn {
	if c := s.conns[name]; c != nil && !c.closed {
		return c
	}
	c, err := dial(s.addr)
	require.NoError(s.t, err)
	s.conns[name] = c
	return c
}

// ask sends a request at this run's version, writes down the answer and returns it; nil
// when there was none. edit may take out what cannot be compared.
func (s *script) ask(about string, req kmsg.Request, edit ...func(kmsg.Response)) kmsg.Response {
	return s.send("", about, req).wait(edit...)
}

// pending is a request whose answer is not waited for yet.
type pending struct {
	s     *script
	title string
	conn  *conn
	req   kmsg.Request
	id    int32
	err   error
}

// send is the first half of ask, on a connection of the script's choice.
func (s *script) send(conn, about string, req kmsg.Request) *pending {
	req.SetVersion(s.at(kmsg.Key(req.Key())))
	p := &pending{s: s, title: title(req.Key(), req.GetVersion(), about), conn: s.conn(conn), req: req}
	p.id, p.err = p.conn.request(req)
	return p
}

func title(key, version int16, about string) string {
	return fmt.Sprintf("%s v%d: %s", kmsg.NameForKey(key), version, about)
}

func (p *pending) wait(edit ...func(kmsg.Response)) kmsg.Response {
	var resp kmsg.Response
	var lines []string
	body, err := []byte(nil), p.err
	if err == nil {
		body, err = p.conn.answer(p.id)
	}
	if err == nil {
		resp, lines, err = decode(p.req, body)
	}
	if err != nil {
		p.conn.close()
		p.s.log = append(p.s.log, exchange{p.title, []string{"  " + outcome(err)}})
		return nil
	}
	for _, f := range edit {
		f(resp)
	}
	p.s.mask.learn(resp)
	lines = append(p.s.mask.text(resp), lines...)
	p.s.log = append(p.s.log, exchange{p.title, lines})
	return resp
}

// as is a response in its type, or an empty one when there was none.
func as[T any, P interface {
	*T
	kmsg.Response
}](r kmsg.Response) P {
	if p, ok := r.(P); ok && p != nil {
		return p
	}
	return new(T)
}

// note writes down something that is no answer.
func (s *script) note(about, format string, args ...any) {
	s.log = append(s.log, exchange{about, []string{"  " + fmt.Sprintf(format, args...)}})
}

// prepare sends a request in its highest version until ok, without writing it down: the
// way to a state, not what is compared.
func prepare[T any, P interface {
	*T
	kmsg.Response
}](s *script, req kmsg.Request, ok func(P) bool) P {
	req.SetVersion(served[kmsg.Key(req.Key())][highest])
	limit, tick := time.After(answerLimit), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		c := s.conn("prepare")
		id, err := c.request(req)
		require.NoError(s.t, err)
		body, err := c.answer(id)
		require.NoError(s.t, err, "preparation with %s", kmsg.NameForKey(req.Key()))
		resp, _, err := decode(req, body)
		require.NoError(s.t, err)
		s.mask.learn(resp)
		if r := as[T, P](resp); ok(r) {
			return r
		}
		select {
		case <-limit:
			require.FailNow(s.t, "preparation", "%s answers %+v", kmsg.NameForKey(req.Key()), resp)
		case <-tick.C:
		}
	}
}

// topic is one that was made for a scenario.
type topic struct {
	name string
	id   [16]byte
}

// topic makes a topic that keeps old records, and waits until all partitions are led.
func (s *script) topic(n string, partitions int32, configs ...string) topic {
	s.t.Helper()
	name := s.topicName(n)
	t := creatable(name, partitions, append([]string{"retention.ms=-1"}, configs...)...)
	made := prepare(s, createTopics(t), func(r *kmsg.CreateTopicsResponse) bool {
		return r.Topics[0].ErrorCode == 0 || r.Topics[0].ErrorCode == kerr.TopicAlreadyExists.Code
	})
	tp := topic{name: name, id: made.Topics[0].TopicID}
	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	lt := kmsg.NewListOffsetsRequestTopic()
	lt.Topic = name
	for p := range partitions {
		lt.Partitions = append(lt.Partitions, offsetsOf(p, -1))
	}
	list.Topics = append(list.Topics, lt)
	prepare(s, list, func(r *kmsg.ListOffsetsResponse) bool {
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return false
			}
		}
		return true
	})
	return tp
}

// fill appends batches to a topic's first partition.
func (s *script) fill(t topic, batches ...[]byte) { s.fillPartition(t, 0, batches...) }

func (s *script) fillPartition(t topic, partition int32, batches ...[]byte) {
	s.t.Helper()
	for _, b := range batches {
		r := produce(t, -1, b)
		r.Topics[0].Partitions[0].Partition = partition
		prepare(s, r, func(r *kmsg.ProduceResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	}
}
