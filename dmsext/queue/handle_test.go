package queue

import (
	"context"
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func testKey(generation byte) *macKey {
	return newMACKey(secretKey{Generation: generation, Key: []byte("0123456789abcdef0123456789abcdef")})
}

func TestAHandleSaysWhatItWasMadeOf(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	key := testKey(7)
	for i := range 2000 {
		h := handle{deadLetter: rnd.Intn(2) == 0, queue: uuid.New(), group: uuid.New(), holder: newHolder(),
			partition: rnd.Int31(), offset: rnd.Int63() >> rnd.Intn(63), delivery: rnd.Int31()}
		if i == 0 {
			h.partition, h.offset, h.delivery = math.MaxInt32, math.MaxInt64, math.MaxInt32
		}
		text := h.text("p", key)
		require.Less(t, len(text), 128)
		get := func(g byte) *macKey {
			if g == 7 {
				return key
			}
			return nil
		}
		got, ok := parseHandle(text, "p", get)
		require.True(t, ok)
		require.Equal(t, h, got)
		_, ok = parseHandle(text, "q", get)
		require.False(t, ok, "of another project")
		_, ok = parseHandle(text, "p", func(byte) *macKey { return nil })
		require.False(t, ok)

		altered := []byte(text)
		at := rnd.Intn(len(altered))
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		if altered[at] = alphabet[rnd.Intn(64)]; string(altered) != text {
			_, ok = parseHandle(string(altered), "p", func(byte) *macKey { return key })
			require.False(t, ok, "%s altered to %s", text, altered)
		}
	}
}

// FuzzHandle reads texts as they come, and with sign what stands in them as if this service had signed it.
func FuzzHandle(f *testing.F) {
	key := testKey(1)
	h := handle{queue: uuid.ID{1}, group: uuid.ID{2}, holder: holder{3}, partition: 2, offset: 1 << 40, delivery: 3}
	f.Add(h.text("p", key), false)
	h.deadLetter = true
	f.Add(h.text("p", key), true)
	f.Add("", false)
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		if said, err := encoding.DecodeString(text); sign && err == nil {
			text = encoding.EncodeToString(key.appendMAC(said, "p", said))
		}
		h, ok := parseHandle(text, "p", func(byte) *macKey { return key })
		if !ok {
			return
		}
		if again, ok := parseHandle(h.text("p", key), "p", func(byte) *macKey { return key }); !ok || again != h {
			t.Fatalf("%q is read as %+v and then as %+v", text, h, again)
		}
	})
}

func TestNothingIsReadFromNumbersThatAreNone(t *testing.T) {
	for _, b := range [][]byte{
		{}, {1}, {1, 2}, {1, 2, 0x80}, {1, 2, 3, 4},
		{0x80, 0x80, 0x80, 0x80, 0x08, 1, 1},                               // a partition of 2^31
		{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1}, // an offset of 2^63
		{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		var h handle
		require.False(t, h.numbers(b), "% x", b)
	}
}

func TestHandlesOutliveTheKeyTheyAreMadeWith(t *testing.T) {
	now := time.Now().Add(-400 * 24 * time.Hour)
	broker := newFake(t)
	clock := func() time.Time { return now }
	a, b := New(Options{Broker: broker, Now: clock}), New(Options{Broker: broker, Now: clock})
	w := &world{T: t, ctx: t.Context(), broker: broker, Service: a}
	id, group := w.queue(NewQueue{})
	retrieve := func(s *Service) Ack {
		w.send(id, `1`)
		got, err := s.Receive(w.ctx, project, id, group, usual())
		require.NoError(t, err)
		require.Len(t, got, 1)
		return Ack{Handle: got[0].Handle, Success: true}
	}
	acknowledge := func(s *Service, ack Ack) error {
		_, err := s.Ack(w.ctx, project, id, group, false, []Ack{ack})
		return err
	}
	require.NoError(t, acknowledge(b, retrieve(a)))
	generation := func() byte { return b.keys.current.Load().signing(now).generation }
	first := generation()

	old := retrieve(a)
	now = now.Add(31 * 24 * time.Hour)
	during := retrieve(a) // makes the next key, signs with the old
	require.NoError(t, acknowledge(b, during))
	require.NoError(t, acknowledge(b, old))
	require.Len(t, b.keys.current.Load().all, 2)
	require.Equal(t, first, generation(), "a new key only verifies at first")
	now = now.Add(2 * time.Minute)
	after := retrieve(a)
	require.NoError(t, acknowledge(b, after))
	require.Equal(t, first+1, generation())

	dropped := retrieve(a)
	for range 2 {
		now = now.Add(31 * 24 * time.Hour)
		require.NoError(t, acknowledge(a, retrieve(a)))
	}
	require.Equal(t, CodeHandle, code(t, acknowledge(b, dropped)), "two keys later it is unknown")
}

func TestServicesThatStartTogetherHaveOneKey(t *testing.T) {
	broker := newFake(t)
	results := make(chan string, 8)
	for range 8 {
		go func() {
			k, err := New(Options{Broker: broker}).handleKeys(context.Background())
			if err != nil {
				results <- err.Error()
				return
			}
			h := handle{}
			results <- h.text("p", k.signing(time.Now()))
		}()
	}
	first := <-results
	for range 7 {
		require.Equal(t, first, <-results)
	}
}
