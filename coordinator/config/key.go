package config

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
)

// Type is a setting's type, with the numbers of the DescribeConfigs API (KIP-569).
type Type int8

// The types of DescribeConfigs v3 and up.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

func (t Type) String() string {
	return [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}[t]
}

// ErrInvalid is wrapped by every refusal of a value or a key.
var ErrInvalid = errors.New("invalid configuration")

// invalid carries a message as Kafka words it, and is ErrInvalid.
type invalid struct{ text string }

func (e invalid) Error() string { return e.text }
func (e invalid) Unwrap() error { return ErrInvalid }

func invalidf(format string, args ...any) error { return invalid{fmt.Sprintf(format, args...)} }

// Key is one setting.
type Key struct {
	Name      string
	Type      Type
	Default   string // meaningless when NoDefault
	NoDefault bool   // unset means null, as log.retention.ms
	ReadOnly  bool   // only at start-up
	Sensitive bool   // never shown
	Inert     bool   // kept and shown, without effect on this broker
	Extension bool   // ours, not Kafka's: shown where it is set or asked for by name
	Synonym   string // the broker setting behind a topic's or group's default
	Doc       string

	check func(name, value string) error
}

// Table is the settings of one kind of resource.
type Table struct {
	Kind   string // "topic", "broker", "group", "client-metrics"
	keys   []*Key
	byName map[string]*Key
}

func newTable(kind string, keys []*Key) *Table {
	t := &Table{Kind: kind, keys: keys, byName: make(map[string]*Key, len(keys))}
	sort.Slice(keys, func(i, j int) bool { return keys[i].Name < keys[j].Name })
	for _, k := range keys {
		t.byName[k.Name] = k
	}
	return t
}

// Keys is every setting, sorted by name. The caller must not change it.
func (t *Table) Keys() []*Key { return t.keys }

// Key finds one setting.
func (t *Table) Key(name string) (*Key, bool) {
	k, ok := t.byName[name]
	return k, ok
}

// Parse checks a value and answers it in the form Kafka shows it: numbers without
// surrounding blanks, lists without blanks around their elements. The error says name,
// value and what is expected, and is [ErrInvalid].
func (k *Key) Parse(value string) (string, error) {
	canonical, err := k.canonical(value)
	if err != nil {
		return "", err
	}
	if k.check != nil {
		if err := k.check(k.Name, canonical); err != nil {
			return "", err
		}
	}
	return canonical, nil
}

func (k *Key) canonical(value string) (string, error) {
	trimmed := strings.TrimSpace(value)
	notNumber := func() error {
		return invalidf("Invalid value %s for configuration %s: Not a number of type %s", value, k.Name, k.Type)
	}
	switch k.Type {
	case Boolean:
		switch low := strings.ToLower(trimmed); low {
		case "true", "false":
			return low, nil
		}
		return "", invalidf("Invalid value %s for configuration %s: Expected value to be either true or false", value, k.Name)
	case Short, Int, Long:
		bits := map[Type]int{Short: 16, Int: 32, Long: 64}[k.Type]
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return "", notNumber()
		}
		return strconv.FormatInt(n, 10), nil
	case Double:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil || math.IsNaN(f) {
			return "", notNumber()
		}
		return javaDouble(f), nil
	case List:
		return strings.Join(Split(trimmed), ","), nil
	case Password:
		return value, nil
	}
	return trimmed, nil
}

// Split takes a list setting apart: elements between commas, without blanks around
// them; the empty text is the empty list.
func Split(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// javaDouble prints a number as Java's Double.toString does for the range settings use.
func javaDouble(f float64) string {
	if a := math.Abs(f); a != 0 && (a >= 1e7 || a < 1e-3) {
		s := strconv.FormatFloat(f, 'E', -1, 64)
		mantissa, exp, _ := strings.Cut(s, "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		exp = strings.TrimPrefix(exp, "+")
		neg := strings.HasPrefix(exp, "-")
		exp = strings.TrimLeft(strings.TrimPrefix(exp, "-"), "0")
		if neg {
			exp = "-" + exp
		}
		return mantissa + "E" + exp
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
