package golden

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unsaid fields are not compared: they depend on load, or are wording.
var unsaid = map[string]bool{"Version": true, "ThrottleMillis": true, "ErrorMessage": true, "Documentation": true, "UnknownTags": true}

// known only to the broker, so that just their being set is compared.
var broker = map[string]bool{"ClusterID": true, "Port": true, "Dir": true, "Size": true, "TotalBytes": true, "UsableBytes": true, "DirectoryID": true}

// kept lists whose order is promised.
var kept = map[string]bool{"DescribeTopicPartitionsResponseTopic": true, "DescribeTopicPartitionsResponseTopicPartition": true,
	"DescribeConfigsResponseResourceConfigConfigSynonym": true}

// mask gives the same name to the same value of one run.
type mask struct {
	topics map[[16]byte]string
	names  map[string]string // kind and value to name
	count  map[string]int
	swap   []string // member ids and their names, in pairs
}

func newMask() *mask {
	return &mask{topics: map[[16]byte]string{}, names: map[string]string{}, count: map[string]int{}}
}

func (m *mask) name(kind string, value any) string {
	key := fmt.Sprint(kind, " ", value)
	if n, ok := m.names[key]; ok {
		return n
	}
	m.count[kind]++
	n := fmt.Sprint(kind, m.count[kind])
	m.names[key] = n
	return n
}

// member names an id that the broker made up.
func (m *mask) member(id string) {
	if id == "" {
		return
	}
	if _, known := m.names["member "+id]; !known {
		m.swap = append(m.swap, id, m.name("member", id))
	}
}

// learn takes note of the ids that an answer introduces.
func (m *mask) learn(resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, t := range r.Topics {
			m.topics[t.TopicID] = t.Topic
		}
	case *kmsg.MetadataResponse:
		for _, t := range r.Topics {
			if t.Topic != nil {
				m.topics[t.TopicID] = *t.Topic
			}
		}
	case *kmsg.JoinGroupResponse:
		m.member(r.MemberID)
	}
}

// text is an answer as lines.
func (m *mask) text(resp kmsg.Response) []string {
	lines := m.lines("", reflect.ValueOf(resp).Elem(), "  ")
	if len(lines) == 0 {
		return []string{"  all fields have their defaults"}
	}
	return lines
}

// lines renders a struct: one line with its plain fields, then those it holds.
func (m *mask) lines(label string, v reflect.Value, indent string) []string {
	inner := indent + "  "
	if label == "" { // the answer itself, whose parts stand beside its own fields
		inner = indent
	}
	standard := reflect.New(v.Type())
	if d, ok := standard.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	var plain, below []string
	for i := range v.NumField() {
		f, fv, dv := v.Type().Field(i), v.Field(i), standard.Elem().Field(i)
		switch {
		case f.Name == "UnknownTags":
			plain = append(plain, tags(fv.Interface().(kmsg.Tags))...)
		case unsaid[f.Name] || reflect.DeepEqual(fv.Interface(), dv.Interface()):
		case fv.Kind() == reflect.Struct:
			below = append(below, m.lines(f.Name, fv, inner)...)
		case fv.Kind() == reflect.Pointer && fv.Type().Elem().Kind() == reflect.Struct:
			below = append(below, m.lines(f.Name, fv.Elem(), inner)...)
		case fv.Kind() == reflect.Slice && fv.Type().Elem().Kind() == reflect.Struct && fv.Len() > 0:
			below = append(below, m.list(f.Name, fv, inner)...)
		case f.Name == "Value" && ownDefault(v):
			plain = append(plain, "Value=its own")
		default:
			plain = append(plain, f.Name+"="+m.value(f.Name, fv))
		}
	}
	if label != "" {
		plain = append([]string{label + ":"}, plain...)
	}
	if len(plain) == 0 {
		return below
	}
	return append([]string{indent + strings.Join(plain, " ")}, below...)
}

// ownDefault tells the settings whose default differs on purpose: a record is synced before
// it is acknowledged unless a topic says otherwise, while Kafka leaves it to the system.
func ownDefault(v reflect.Value) bool {
	name, source := v.FieldByName("Name"), v.FieldByName("Source")
	if !source.IsValid() || source.Int() != int64(kmsg.ConfigSourceDefaultConfig) {
		return false
	}
	return name.String() == "flush.messages" || name.String() == "log.flush.interval.messages"
}

func (m *mask) list(name string, v reflect.Value, indent string) []string {
	var blocks []string
	for i := range v.Len() {
		blocks = append(blocks, strings.Join(m.lines(name, v.Index(i), indent), "\n"))
	}
	if !kept[v.Type().Elem().Name()] {
		sort.Strings(blocks)
	}
	return strings.Split(strings.Join(blocks, "\n"), "\n")
}

func (m *mask) value(field string, v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "null"
		}
		v = v.Elem()
	}
	if broker[field] {
		return "set"
	}
	switch x := v.Interface().(type) {
	case string:
		return fmt.Sprintf("%q", strings.NewReplacer(m.swap...).Replace(x))
	case []string:
		return fmt.Sprintf("%q", slices.Sorted(slices.Values(x)))
	case [16]byte:
		return m.id(x)
	case [][16]byte:
		return fmt.Sprintf("%d ids", len(x))
	case []byte:
		return m.bytes(field, x)
	case int16:
		if strings.HasSuffix(field, "ErrorCode") {
			return code(x)
		}
	case int32:
		if field == "SessionID" {
			return m.name("session", x)
		}
	case int64:
		if field == "ProducerID" {
			return m.name("producer", x)
		}
		if age := time.Since(time.UnixMilli(x)); age.Abs() < time.Hour {
			return "now"
		}
	}
	return fmt.Sprint(v.Interface())
}

func (m *mask) id(id [16]byte) string {
	if id == ([16]byte{}) {
		return "none"
	}
	if name, ok := m.topics[id]; ok {
		return "id(" + name + ")"
	}
	return m.name("id", id)
}

func (m *mask) bytes(field string, b []byte) string {
	if field == "RecordBatches" {
		return batches(b)
	}
	return fmt.Sprintf("%q", b)
}

func code(c int16) string {
	if err := kerr.TypedErrorForCode(c); err != nil {
		return err.Message
	}
	return fmt.Sprint(c)
}

func tags(t kmsg.Tags) (out []string) {
	t.Each(func(k uint32, v []byte) { out = append(out, fmt.Sprintf("tag%d=%s", k, hex.EncodeToString(v))) })
	return out
}
