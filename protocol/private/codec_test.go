package private

import (
	"math/rand"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// message is what requests and responses have in common.
type message interface {
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
}

func all() []message {
	var out []message
	for key := MinKey; key <= MaxKey; key++ {
		req := New(key)
		out = append(out, req, req.ResponseKind())
	}
	return out
}

func TestEveryMessageReadsBackAsItWasWritten(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	for range 200 {
		for _, m := range all() {
			fill(rnd, reflect.ValueOf(m).Elem())
			bytes := m.AppendTo(nil)
			got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
			require.NoError(t, got.ReadFrom(bytes))
			require.Equal(t, m, got)
			if len(bytes) > 0 {
				cut := bytes[:rnd.Intn(len(bytes))]
				require.Error(t, reflect.New(reflect.TypeOf(m).Elem()).Interface().(message).ReadFrom(cut), "%T cut to %d of %d", m, len(cut), len(bytes))
			}
			require.Error(t, got.ReadFrom(append(bytes, 0)))
		}
	}
}

// fill sets every field of a message to something; empty slices that are not of bytes stay nil, as reading makes them.
func fill(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rnd.Intn(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rnd.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.String:
		b := make([]byte, rnd.Intn(200))
		rnd.Read(b)
		v.SetString(string(b))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rnd.Intn(256)))
		}
	case reflect.Slice:
		n := rnd.Intn(4)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetZero()
			if n > 0 {
				v.SetBytes(make([]byte, n-1))
			}
			return
		}
		v.SetZero()
		for range n {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(rnd, e)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(rnd, v.Field(i))
			}
		}
	}
}

func TestKeysNameTheirRequests(t *testing.T) {
	for key := MinKey; key <= MaxKey; key++ {
		req := New(key)
		require.Equal(t, key, req.Key())
		require.Equal(t, key, req.ResponseKind().Key())
		require.IsType(t, req, req.ResponseKind().RequestKind())
		require.Equal(t, Name(key)+"Request", reflect.TypeOf(req).Elem().Name())
		require.Greater(t, key, int16(kmsg.MaxKey))
	}
	require.Nil(t, New(MinKey-1))
	require.Empty(t, Name(MaxKey+1))
}

func TestNamesOfQueues(t *testing.T) {
	const id = "5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11"
	for name, is := range map[string]bool{
		"q-0123456789abcdef0123456789abcdef-" + id: true, "k-local-" + id: true, "q-p-" + id + "-dlq-g-" + id: true,
		"q-orders": false, "q-" + id: false, "x-p-" + id: false, "q-p-" + id + "-dlq-g": false, "q-p-5A0C7F3E-6f0e-4a53-9d0a-2f7f0f5f7a11": false,
	} {
		require.Equal(t, is, IsQueueTopic(name), name)
	}
	for name, is := range map[string]bool{"g-" + id: true, "http.g-" + id: true, "g-team": false, "xg-" + id: false} {
		require.Equal(t, is, IsQueueGroup(name), name)
	}
}

func FuzzReadFrom(f *testing.F) {
	for i, m := range all() {
		fill(rand.New(rand.NewSource(int64(i))), reflect.ValueOf(m).Elem())
		f.Add(i, m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, kind int, data []byte) {
		kinds := all()
		m := kinds[uint(kind)%uint(len(kinds))]
		if m.ReadFrom(data) != nil {
			return
		}
		again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
		require.NoError(t, again.ReadFrom(m.AppendTo(nil)))
		require.Equal(t, m, again)
	})
}
