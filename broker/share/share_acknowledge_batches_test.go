package share

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/share/window"
)

type fetchBatch = kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch

func said(first, last int64, types ...int8) fetchBatch {
	return fetchBatch{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}
}

func does(first, last int64, kind window.Kind) window.Action {
	return window.Action{First: first, Last: last, Kind: kind}
}

func TestAcknowledgementsBecomeActions(t *testing.T) {
	until := time.UnixMilli(5000)
	renewal := does(4, 4, window.Renew)
	renewal.Until = until
	for name, c := range map[string]struct {
		batches []fetchBatch
		want    []window.Action
	}{
		"one type for all":            {[]fetchBatch{said(3, 9, 1)}, []window.Action{does(3, 9, window.Accept)}},
		"one record":                  {[]fetchBatch{said(0, 0, 3)}, []window.Action{does(0, 0, window.Reject)}},
		"one type for each":           {[]fetchBatch{said(0, 3, 1, 2, 3, 0)}, []window.Action{does(0, 0, 1), does(1, 1, 2), does(2, 2, 3), does(3, 3, 0)}},
		"neighbours of one kind":      {[]fetchBatch{said(0, 3, 1, 1, 2, 2), said(4, 5, 2)}, []window.Action{does(0, 1, 1), does(2, 5, 2)}},
		"a gap between ranges":        {[]fetchBatch{said(0, 1, 1), said(3, 4, 1)}, []window.Action{does(0, 1, 1), does(3, 4, 1)}},
		"renewals among others":       {[]fetchBatch{said(3, 4, 1, 4)}, []window.Action{does(3, 3, 1), renewal}},
		"the largest offset there is": {[]fetchBatch{said(0, math.MaxInt64, 2)}, []window.Action{does(0, math.MaxInt64, 2)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := actionsOf(c.batches, true, until)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestAcknowledgementsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		batches []fetchBatch
		want    error
	}{
		"no types":                        {[]fetchBatch{said(3, 5)}, window.ErrRange},
		"types too few":                   {[]fetchBatch{said(3, 5, 1, 1)}, window.ErrRange},
		"types too many":                  {[]fetchBatch{said(3, 3, 1, 1)}, window.ErrRange},
		"type 9":                          {[]fetchBatch{said(3, 3, 9)}, window.ErrRange},
		"type -1":                         {[]fetchBatch{said(3, 3, -1)}, window.ErrRange},
		"type of another door":            {[]fetchBatch{said(3, 3, int8(window.Fail))}, window.ErrRange},
		"a renewal unannounced":           {[]fetchBatch{said(3, 3, 4)}, window.ErrRange},
		"crossed ends":                    {[]fetchBatch{said(5, 4, 1)}, window.ErrRange},
		"negative":                        {[]fetchBatch{said(-1, 4, 1)}, window.ErrRange},
		"all offsets there are":           {[]fetchBatch{said(math.MinInt64, math.MaxInt64, 1)}, window.ErrRange},
		"out of order":                    {[]fetchBatch{said(5, 5, 1), said(4, 4, 1)}, window.ErrRange},
		"deep in the one before":          {[]fetchBatch{said(0, 5, 1), said(2, 2, 1)}, window.ErrRange},
		"at the end of the one before":    {[]fetchBatch{said(4, 5, 1), said(5, 5, 1)}, window.ErrState},
		"the same record twice":           {[]fetchBatch{said(0, 0, 1), said(0, 0, 1)}, window.ErrState},
		"twice, but malformed after that": {[]fetchBatch{said(0, 0, 1), said(0, 0, 1), said(3, 2, 1)}, window.ErrRange},
		"more types than any window":      {[]fetchBatch{said(0, mostAckTypes, make([]int8, mostAckTypes+1)...)}, window.ErrRange},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := actionsOf(c.batches, false, time.Time{})
			require.ErrorIs(t, err, c.want)
			require.Nil(t, got)
		})
	}
}

// FuzzAcknowledgements: whatever is let through is what the window may be asked: ranges by offset that do not touch one another,
// known kinds, each mentioned record once.
func FuzzAcknowledgements(f *testing.F) {
	seed := func(ranges ...int64) []byte {
		var b []byte
		for _, n := range ranges {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		return b
	}
	f.Add(seed(0, 3), []byte{1}, true)
	f.Add(seed(0, 3, 4, 4), []byte{1, 2, 3, 0, 4}, true)
	f.Add(seed(4, 5, 5, 5), []byte{1, 1}, false)
	f.Add(seed(0, math.MaxInt64), []byte{2}, false)
	f.Fuzz(func(t *testing.T, ends, types []byte, renews bool) {
		var batches []fetchBatch
		for len(ends) >= 16 {
			b := said(int64(binary.BigEndian.Uint64(ends)), int64(binary.BigEndian.Uint64(ends[8:])))
			n := 1
			if width := b.LastOffset - b.FirstOffset; width >= 0 && width < int64(len(types)) {
				n = int(width) + 1
			}
			for _, c := range types[:min(n, len(types))] {
				b.AcknowledgeTypes = append(b.AcknowledgeTypes, int8(c))
			}
			types, ends = types[len(b.AcknowledgeTypes):], ends[16:]
			batches = append(batches, b)
		}
		actions, err := actionsOf(batches, renews, time.Time{})
		if err != nil {
			require.Nil(t, actions)
			return
		}
		records, meant := int64(0), int64(0)
		last := int64(-1)
		for i, a := range actions {
			require.Greater(t, a.First, last)
			require.GreaterOrEqual(t, a.Last, a.First)
			require.True(t, a.Kind >= window.Gap && a.Kind <= window.Renew && (renews || a.Kind != window.Renew))
			require.False(t, i > 0 && actions[i-1].Kind == a.Kind && a.First == last+1, "neighbours of one kind are one action")
			last = a.Last
			records += a.Last - a.First + 1
		}
		for _, b := range batches {
			meant += b.LastOffset - b.FirstOffset + 1
		}
		require.Equal(t, meant, records)
	})
}

// A request of many bytes does not become many times as many in memory.
func TestARequestSaysSoMuchAndNoMore(t *testing.T) {
	types := make([]int8, mostAckTypes-1)
	for i := range types {
		types[i] = int8(1 + i%2)
	}
	r := acker{set: &settings{}}
	for n := range int32(6) {
		acknowledgeWith(&r, [16]byte{1}, n, []fetchBatch{said(0, int64(len(types))-1, types...)})
	}
	acknowledgeWith(&r, [16]byte{1}, 6, []fetchBatch{said(0, 9, 1)})
	kept := 0
	for i := range r.list {
		kept += len(r.list[i].actions)
	}
	require.LessOrEqual(t, kept, mostActions)
	require.NoError(t, r.list[3].err)
	require.ErrorIs(t, r.list[4].err, window.ErrRange)
	require.NoError(t, r.list[6].err, "what is small is still heard")
}
