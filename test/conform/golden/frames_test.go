package golden

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["frames"] = frames
	scenarios["frames-cut"] = framesCut
	scenarios["pipeline"] = pipeline
}

// raw writes bytes on a connection of its own and says what comes of them.
func (s *script) raw(about string, bytes []byte) { s.rawWithin(answerLimit, about, bytes) }

func (s *script) rawWithin(limit time.Duration, about string, bytes []byte) {
	c, err := dial(s.addr)
	if err != nil {
		s.note("Frame: "+about, "%s", outcome(err))
		return
	}
	defer c.close()
	if err = c.write(bytes); err == nil {
		_, _, err = c.frame(limit)
	}
	if err != nil {
		s.note("Frame: "+about, "%s", outcome(err))
		return
	}
	s.note("Frame: "+about, "answered")
}

// frame is a request as it goes over the wire, with another header than its own where
// the caller wants that.
func frame(key, version int16, flexible bool, body []byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, uint16(key))
	h = binary.BigEndian.AppendUint16(h, uint16(version))
	h = binary.BigEndian.AppendUint32(h, 1)
	h = append(h, 0, 1, 'g')
	if flexible {
		h = append(h, 0)
	}
	return sized(append(h, body...))
}

func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func frames(s *script) {
	if s.edition == lowest {
		return // no frame here depends on it
	}
	size := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	s.raw("negative size", append(size(-1), make([]byte, 100)...))
	s.raw("size 0", size(0))
	s.raw("size above the limit", size(100<<20+1))
	s.raw("header of 3 bytes", sized([]byte{0, 18, 0}))
	s.raw("header without a client id", sized([]byte{0, 18, 0, 0, 0, 0, 0, 1}))
	s.raw("client id longer than the frame", sized([]byte{0, 18, 0, 0, 0, 0, 0, 1, 0, 50, 'g'}))
	s.raw("null client id", sized([]byte{0, 18, 0, 0, 0, 0, 0, 1, 255, 255}))
	s.rawWithin(500*time.Millisecond, "half a frame", frame(18, 0, false, nil)[:9])

	s.raw("unknown key", frame(500, 0, false, nil))
	s.raw("negative key", frame(-1, 0, false, nil))
	s.raw("a key of former brokers", frame(5, 0, false, make([]byte, 40)))
	s.raw("a key of controllers", frame(int16(kmsg.BrokerRegistration), 0, true, make([]byte, 40)))
	s.raw("a version that is not served yet", frame(int16(kmsg.Metadata), 99, true, []byte{1, 0, 0}))
	s.raw("a version that is not served any more", frame(int16(kmsg.Fetch), 1, false, make([]byte, 16)))
	s.raw("a version that is only advertised", frame(int16(kmsg.Produce), 2, false, []byte{0, 1, 0, 0, 1, 0, 0, 0, 0, 0}))
	s.raw("negative version", frame(int16(kmsg.Metadata), -1, false, make([]byte, 16)))
	s.raw("tags that are not there", frame(int16(kmsg.ApiVersions), 3, false, []byte{0xff, 0xff, 0xff, 0x0f}))
	s.raw("more tags than are allowed", frame(int16(kmsg.ApiVersions), 3, true, append([]byte{2, 'g', 2, '1', 0x91, 0x4e}, make([]byte, 30_000)...)))
	s.raw("an unknown tag", frame(int16(kmsg.ApiVersions), 3, true, []byte{2, 'g', 2, '1', 1, 99, 1, 0}))
	s.raw("more topics than bytes", frame(int16(kmsg.Metadata), 1, false, []byte{0x7f, 0xff, 0xff, 0xff}))
	s.raw("topics of length -2", frame(int16(kmsg.Metadata), 1, false, []byte{0xff, 0xff, 0xff, 0xfe}))
	s.raw("a name longer than the frame", frame(int16(kmsg.Metadata), 1, false, []byte{0, 0, 0, 1, 0x7f, 0xff, 'n'}))
	s.raw("null where none may be", frame(int16(kmsg.Metadata), 1, false, []byte{0, 0, 0, 1, 0xff, 0xff}))
	s.raw("a varint without end", frame(int16(kmsg.Metadata), 12, true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))

	// A version of ApiVersions that nobody knows is answered, in a form that anybody reads.
	c := s.conn("versions")
	_ = c.write(frame(int16(kmsg.ApiVersions), 99, true, []byte{2, 'g', 2, '1', 0}))
	body, err := c.answer(1)
	resp := kmsg.NewPtrApiVersionsResponse()
	if err == nil {
		err = resp.ReadFrom(body)
	}
	if err != nil {
		s.note("Frame: ApiVersions in an unknown version", "%s", outcome(err))
		return
	}
	underTest(resp)
	s.log = append(s.log, exchange{"Frame: ApiVersions in an unknown version", s.mask.text(resp)})
}

// framesCut takes bytes from, and adds them to, a request of every API under test.
func framesCut(s *script) {
	for _, key := range slices.Sorted(maps.Keys(served)) {
		req := kmsg.RequestForKey(int16(key))
		req.SetVersion(s.at(key))
		if d, ok := req.(interface{ Default() }); ok {
			d.Default()
		}
		body := req.AppendTo(nil)
		if len(body) == 0 {
			continue
		}
		name := title(int16(key), req.GetVersion(), "")
		s.raw(name+"a byte is missing", frame(int16(key), req.GetVersion(), req.IsFlexible(), body[:len(body)-1]))
		s.raw(name+"no body", frame(int16(key), req.GetVersion(), req.IsFlexible(), nil))
	}
	left := kmsg.NewPtrDescribeClusterRequest()
	left.SetVersion(s.at(kmsg.DescribeCluster))
	s.raw("bytes after the request", frame(left.Key(), left.GetVersion(), true, append(left.AppendTo(nil), 1, 2, 3)))
}

// pipeline sends much before it reads: the answers come in the order of the requests,
// also where a later one is ready first.
func pipeline(s *script) {
	t := s.topic("t", 1)
	wait := fetch(t, 0, 0)
	wait.MaxWaitMillis = 300
	sent := []*pending{
		s.send("", "a fetch that waits", wait),
		s.send("", "a request behind it", listOffsets(t, 0, -1)),
		s.send("", "a record", produce(t, -1, one("k", "1"))),
		s.send("", "a second record", produce(t, 1, one("k", "2"))),
		s.send("", "the offset after both", listOffsets(t, 0, -1)),
		s.send("", "both records", fetch(t, 0, 0)),
	}
	for _, p := range sent {
		p.wait()
	}
}
