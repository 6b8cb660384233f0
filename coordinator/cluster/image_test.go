package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// writes is a store without a store: it makes the events of changes, with growing revisions.
type writes struct {
	revision int64
	view     *view
}

func newWrites() *writes { return &writes{view: newView(nil, DefaultPrefix, zap.NewNop())} }

// put applies the keys at one revision and gives the image.
func (w *writes) put(values map[string]any) *Image {
	w.revision++
	var events []Event
	for _, name := range slices.Sorted(maps.Keys(values)) {
		e := Event{KV: KV{Key: DefaultPrefix + name, ModRevision: w.revision}, Deleted: values[name] == nil}
		switch v := values[name].(type) {
		case nil:
		case string:
			e.Value = []byte(v)
		default:
			e.Value = encode(v)
		}
		events = append(events, e)
	}
	if err := w.view.apply(events); err != nil {
		panic(err)
	}
	return w.view.Image()
}

func (w *writes) topic(name string, id uuid.ID, partitions int32) *Image {
	values := map[string]any{"topics/" + name: topicRecord{ID: id, Partitions: partitions}}
	for n := range partitions {
		values[fmt.Sprintf("partitions/%v/%d", id, n)] = newPartition([]int32{1})
	}
	return w.put(values)
}

func TestOldImagesNeverChange(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWrites()
	var images []*Image
	var texts []string
	ids := map[string]uuid.ID{}
	for range 400 {
		name := fmt.Sprintf("t%d", rng.IntN(30))
		id, there := ids[name]
		var im *Image
		switch op := rng.IntN(6); {
		case !there:
			ids[name] = uuid.ID{0: byte(len(images)), 1: byte(len(images) >> 8), 15: 1}
			im = w.topic(name, ids[name], 1+rng.Int32N(4))
		case op == 0:
			delete(ids, name)
			im = w.put(map[string]any{"topics/" + name: nil})
		case op == 1:
			im = w.topic(name, id, int32(len(w.view.Image().Topic(name).Partitions))+1)
		case op == 2:
			im = w.put(map[string]any{"configs/topic/" + name: map[string]string{"v": fmt.Sprint(len(images))}, "brokers/" + fmt.Sprint(rng.IntN(4)): brokerRecord{}})
		default:
			im = w.put(map[string]any{fmt.Sprintf("partitions/%v/0", id): partitionRecord{Leader: 2, LeaderEpoch: int32(len(images)), Replicas: []int32{1, 2}, ISR: []int32{2}}})
		}
		images, texts = append(images, im), append(texts, describe(im))
	}
	for i, im := range images {
		require.Equal(t, texts[i], describe(im), "image %d", i)
	}
}

// describe writes all of an image, and checks that its indexes agree.
func describe(im *Image) string {
	var b strings.Builder
	partitions, last := 0, ""
	fmt.Fprintln(&b, im.Revision, im.Brokers, im.ControllerID, im.Features)
	for t := range im.Topics() {
		if t != im.TopicByID(t.ID) || t != im.Topic(t.Name) || t.Name <= last && last != "" {
			panic("indexes disagree on " + t.Name)
		}
		partitions += len(t.Partitions)
		last = t.Name
		text, _ := json.Marshal(t)
		fmt.Fprintln(&b, string(text), im.Config(KindTopic, t.Name))
	}
	if partitions != im.NumPartitions() || len(slices.Collect(im.Topics())) != im.NumTopics() || im.byID.Len() != im.NumTopics() {
		panic("counts disagree")
	}
	return b.String()
}

func TestOneChangeTouchesOneTopic(t *testing.T) {
	w := newWrites()
	for i := range 2000 {
		w.topic(fmt.Sprintf("t%04d", i), uuid.ID{0: byte(i), 1: byte(i >> 8), 2: 1}, 2)
	}
	before := w.view.Image()
	id := before.Topic("t0007").ID
	after := w.put(map[string]any{fmt.Sprintf("partitions/%v/1", id): partitionRecord{Leader: 3, Replicas: []int32{3}, ISR: []int32{3}}})
	var changed []string
	for was, is := range after.TopicChanges(before) {
		require.Same(t, before.Topic(is.Name), was)
		changed = append(changed, is.Name)
	}
	require.Equal(t, []string{"t0007"}, changed)
	require.Equal(t, int32(1), before.Topic("t0007").Partitions[1].Leader)
	require.Equal(t, int32(3), after.Topic("t0007").Partitions[1].Leader)
	require.Same(t, before.Topic("t0008"), after.Topic("t0008"))
	require.Less(t, testing.AllocsPerRun(100, func() {
		w.put(map[string]any{fmt.Sprintf("partitions/%v/1", id): partitionRecord{Leader: 3, Replicas: []int32{3}, ISR: []int32{3}}})
	}), 80.0, "independent of the number of topics")
}

func TestTopicCountsWhenItsKeyDoes(t *testing.T) {
	w := newWrites()
	id := uuid.ID{1}
	p := newPartition([]int32{1})
	require.Nil(t, w.put(map[string]any{"partitions/" + id.String() + "/0": p, "partitions/" + id.String() + "/1": p}).TopicByID(id))
	require.Nil(t, w.put(map[string]any{"topics/t": topicRecord{ID: id, Partitions: 3}}).Topic("t"), "one partition is missing")
	require.Len(t, w.put(map[string]any{"partitions/" + id.String() + "/2": p, "partitions/" + id.String() + "/3": p}).Topic("t").Partitions, 3)
	require.Len(t, w.view.loose(), 1, "beyond the count")
	require.Len(t, w.put(map[string]any{"topics/t": topicRecord{ID: id, Partitions: 4}}).Topic("t").Partitions, 4)
	require.False(t, w.view.hasLoose())
	require.Len(t, w.put(map[string]any{"partitions/" + id.String() + "/0": nil}).Topic("t").Partitions, 4, "a stranger's slip")
	require.Nil(t, w.put(map[string]any{"topics/t": nil}).Topic("t"))
	require.Len(t, w.view.loose(), 4)
	for n := range 4 {
		w.put(map[string]any{fmt.Sprintf("partitions/%v/%d", id, n): nil})
	}
	require.False(t, w.view.hasLoose())
}

func TestTopicMadeAgainInOneBatch(t *testing.T) {
	w := newWrites()
	first, second := uuid.ID{1}, uuid.ID{2}
	w.topic("t", first, 2)
	im := w.topic("t", second, 1) // the deletion and the creation came together
	require.Equal(t, second, im.Topic("t").ID)
	require.Nil(t, im.TopicByID(first))
	require.Equal(t, 1, im.NumPartitions())
	require.Len(t, w.view.loose(), 2)
}

func TestStrangeValuesCountAsAbsent(t *testing.T) {
	w := newWrites()
	good := uuid.ID{1}
	want := describe(w.topic("good", good, 1))
	for name, value := range map[string]any{
		"topics/bad":                          "{",
		"topics/none":                         topicRecord{ID: uuid.ID{9}, Partitions: 0},
		"topics/huge":                         topicRecord{ID: uuid.ID{9}, Partitions: 1 << 30},
		"topics/twin":                         topicRecord{ID: good, Partitions: 1},
		"partitions/x/1":                      newPartition([]int32{1}),
		"partitions/" + good.String() + "/01": newPartition([]int32{1}),
		"partitions/" + good.String() + "/-1": newPartition([]int32{1}),
		"partitions/" + good.String() + "/0":  `{"replicas":[]}`,
		"topics/../etc":                       topicRecord{ID: good, Partitions: 1},
		"configs/x":                           map[string]string{},
		"brokers/+1":                          brokerRecord{},
		"brokers/2":                           "[]",
		"queues/later":                        "whatever",
	} {
		im := w.put(map[string]any{name: value})
		im2 := *im
		im2.Revision = 1
		require.Equal(t, want, describe(&im2), name)
	}
}

func TestCollisionsOfDotAndUnderscore(t *testing.T) {
	w := newWrites()
	im := w.topic("a.b_c", uuid.ID{1}, 1)
	for name, collides := range map[string]bool{"a_b.c": true, "a.b.c": true, "a_b_c": true, "a.b_c": false, "a.b": false, "abc": false} {
		other, found := im.Collision(name)
		require.Equal(t, collides, found, name)
		if collides {
			require.Equal(t, "a.b_c", other)
		}
	}
	_, found := w.put(map[string]any{"topics/a.b_c": nil}).Collision("a_b.c")
	require.False(t, found)
}

// FuzzMetadata gives the image whatever may lie in a store.
func FuzzMetadata(f *testing.F) {
	id := uuid.ID{1}
	for _, seed := range [][2]string{
		{"topics/t", string(encode(topicRecord{ID: id, Partitions: 2}))},
		{"topics/t", string(encode(topicRecord{ID: id, Partitions: 1 << 30}))},
		{"partitions/" + id.String() + "/1", string(encode(newPartition([]int32{1, 2})))},
		{"configs/topic/t", `{"a":"b"}`},
		{"brokers/1", string(encode(brokerRecord{Listeners: []Endpoint{{Name: "X"}}}))},
		{"controller", `{"broker":1}`},
		{"features", `{"a":1}`},
		{"cluster", `{"id":"x","format":1}`},
		{"topics/t", ""},
		{"unknown", "x"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		w := newWrites()
		w.topic("t", id, 1)
		w.topic("u.v", uuid.ID{2}, 1)
		for range 2 {
			w.put(map[string]any{name: string(value)})
			describe(w.view.Image())
		}
		w.put(map[string]any{name: nil})
		describe(w.view.Image())
		require.LessOrEqual(t, w.view.Image().NumPartitions(), 3)
	})
}
