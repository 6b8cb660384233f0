package wire

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// decodeCost measures the bytes that decoding allocates: the least of some measurements, since the whole process is measured.
func decodeCost(t testing.TB, h Header, body []byte) int64 {
	t.Helper()
	least := int64(math.MaxInt64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		req, _, err := Decode(h, body)
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		runtime.KeepAlive(req)
		least = min(least, int64(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}

// affordable is the most that decoding may allocate under an estimate. Twice, because builds with the race detector make
// every slice twice; others stay below the estimate. The rest is what a measurement sees beside the decoding.
func affordable(estimate int64) int64 { return 2*estimate + slack }

const slack = 4096

// The estimate is close to what is allocated, from above and from below: the budget of requests in flight is spent by it.
func TestEstimateIsCloseToWhatIsAllocated(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		for range 3 {
			body := writeLayout(rng, e, version).buf
			estimate, err := Check(e.Key, version, body)
			require.NoError(t, err)
			spent := decodeCost(t, Header{Key: e.Key, Version: version}, body)
			require.LessOrEqual(t, spent, affordable(estimate), "%x", body)
			require.LessOrEqual(t, estimate, 3*spent+slack, "%x", body)
		}
	})
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		eachList(e.fields, version, func(list *field) {
			body := swollen(e, version, list, 0)
			estimate, err := Check(e.Key, version, body)
			require.NoError(t, err)
			spent := decodeCost(t, Header{Key: e.Key, Version: version}, body)
			require.LessOrEqual(t, spent, affordable(estimate))
			require.LessOrEqual(t, estimate, 3*spent+slack)
		})
	})
}

// The buffer of a frame is used again: what a handler keeps must not change with it.
func TestOnlyRecordsAliasTheFrame(t *testing.T) {
	rng := seeded(t)
	eachVersion(t, func(t *testing.T, e *entry, version int16) {
		w := layoutWriter{rng: rng, version: version, flexible: e.flexible(version), nulls: true}
		w.structure(e.fields)
		req, _, err := Decode(Header{Key: e.Key, Version: version}, w.buf)
		require.NoError(t, err)
		before := req.AppendTo(nil)
		for i := range w.buf {
			w.buf[i] ^= 0xff
		}
		if p, ok := req.(*kmsg.ProduceRequest); ok {
			for i := range p.Topics {
				for j := range p.Topics[i].Partitions {
					for k := range p.Topics[i].Partitions[j].Records {
						p.Topics[i].Partitions[j].Records[k] ^= 0xff
					}
				}
			}
		}
		require.Equal(t, before, req.AppendTo(nil))
	})
}

func TestRecordsAreNotCopied(t *testing.T) {
	body := produceRequest(9, make([]byte, 1<<20)).AppendTo(nil)
	require.Less(t, decodeCost(t, Header{Key: 0, Version: 9}, body), int64(1<<16))
	estimate, err := Check(0, 9, body)
	require.NoError(t, err)
	require.Less(t, estimate, int64(1<<16))
}

// Kafka decodes what is not UTF-8 into replacement characters and goes on.
func TestStringsAreMadeValid(t *testing.T) {
	bad := "a\xff\xfeb"
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = 9
	req.Group, req.InstanceID, req.MemberID = bad, &bad, "good ü"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "\xc3", Metadata: []byte("\xff")}}
	got, _, err := Decode(Header{Key: 11, Version: 9}, req.AppendTo(nil))
	require.NoError(t, err)
	join := got.(*kmsg.JoinGroupRequest)
	require.Equal(t, "a\uFFFD\uFFFDb", join.Group)
	require.Equal(t, "a\uFFFD\uFFFDb", *join.InstanceID)
	require.Equal(t, "good ü", join.MemberID)
	require.Equal(t, "\uFFFD", join.Protocols[0].Name)
	require.Equal(t, []byte("\xff"), join.Protocols[0].Metadata)

	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Groups = []string{"x", strings.Repeat("\xff", 300)}
	body := groups.AppendTo(nil)
	estimate, err := Check(15, 0, body)
	require.NoError(t, err)
	require.LessOrEqual(t, decodeCost(t, Header{Key: 15}, body), affordable(estimate))
	got, _, err = Decode(Header{Key: 15}, body)
	require.NoError(t, err)
	for _, g := range got.(*kmsg.DescribeGroupsRequest).Groups {
		require.True(t, utf8.ValidString(g))
	}
}

func TestDecodeSetsTheVersionAndGivesTheEstimate(t *testing.T) {
	body := []byte{0xff, 0xff, 0xff, 0xff}
	req, n, err := Decode(Header{Key: 3, Version: 1}, body)
	require.NoError(t, err)
	require.EqualValues(t, 1, req.GetVersion())
	require.Nil(t, req.(*kmsg.MetadataRequest).Topics)
	want, err := Check(3, 1, body)
	require.NoError(t, err)
	require.Equal(t, want, n)
}
