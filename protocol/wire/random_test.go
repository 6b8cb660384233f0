package wire

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seeded gives a random source whose seed is in the test's output.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// eachVersion runs f for every version that has a layout.
func eachVersion(t *testing.T, f func(t *testing.T, e *entry, version int16)) {
	for _, e := range table {
		if e == nil {
			continue
		}
		for v := e.first; v <= e.Max; v++ {
			t.Run(fmt.Sprintf("%s v%d", e.Name, v), func(t *testing.T) { f(t, e, v) })
		}
	}
}

// fill puts random values into every field of a request, as kmsg declares it. Null stands only where a pointer or kmsg's encoding
// of that version has it; slices are never nil, because kmsg writes nil as null in some lists that Kafka allows no null in.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rng.Int64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(rng.Uint64())
	case reflect.Float64:
		v.SetFloat(rng.NormFloat64())
	case reflect.String:
		v.SetString(randomText(rng))
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Slice:
		n := rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Struct:
		fillStruct(rng, v)
	}
}

func fillStruct(rng *rand.Rand, v reflect.Value) {
	if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
		for range rng.IntN(3) {
			tags.Set(100+rng.Uint32N(1000), []byte(randomText(rng)))
		}
		return
	}
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Name != "Version" {
			fill(rng, v.Field(i))
		}
	}
}

func randomText(rng *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyz-._0123456789äß€"
	n := rng.IntN(12)
	if rng.IntN(50) == 0 {
		n = 200 // two bytes of compact length
	}
	var s []rune
	for range n {
		r := []rune(letters)
		s = append(s, r[rng.IntN(len(r))])
	}
	return string(s)
}

// randomRequest encodes a random request with kmsg.
func randomRequest(rng *rand.Rand, e *entry, version int16) (kmsg.Request, []byte) {
	req := kmsg.RequestForKey(e.Key)
	fill(rng, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	// kmsg writes a tag in versions that do not have it yet.
	if f, ok := req.(*kmsg.FetchRequest); ok {
		plainFetch(f, version)
	}
	return req, req.AppendTo(nil)
}

func plainFetch(f *kmsg.FetchRequest, version int16) {
	if version < 15 {
		f.ReplicaState = kmsg.NewFetchRequestReplicaState()
	}
	for i := range f.Topics {
		for j := range f.Topics[i].Partitions {
			p := &f.Topics[i].Partitions[j]
			if version < 17 {
				p.ReplicaDirectoryID = [16]byte{}
			}
			if version < 18 {
				p.HighWatermark = kmsg.NewFetchRequestTopicPartition().HighWatermark
			}
		}
	}
}
