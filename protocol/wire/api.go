package wire

import "sync"

// API is one row of Kafka 4.4's table: what a 4.4 broker advertises to clients. Which of them this broker serves is decided by its
// handlers.
type API struct {
	Key      int16
	Name     string // as Kafka spells it
	Min, Max int16  // lowest and highest version advertised
	Flexible int16  // first version with compact types and tags, -1 if none
}

// flexible reports whether version has compact types and tags.
func (a API) flexible(version int16) bool { return a.Flexible >= 0 && version >= a.Flexible }

// serves reports whether Kafka advertises version.
func (a API) serves(version int16) bool { return version >= a.Min && version <= a.Max }

// entry is a row with the layout of its requests.
type entry struct {
	API
	fields   []field
	first    int16            // lowest version with a layout
	programs func() []program // by version, from first on; compiled at the first use
}

// Keys that have rules of their own.
const (
	keyProduce     = 0
	keyApiVersions = 18
)

// firstLayout is the lowest version of Produce that has a body. Versions 0 to 2 are advertised for clients that look
// for them to learn whether they may compress (KAFKA-18659), and are not served.
const firstLayout = 3

func define(api API, fields ...field) *entry {
	e := &entry{API: api, fields: fields, first: api.Min}
	if api.Key == keyProduce {
		e.first = firstLayout
	}
	e.programs = sync.OnceValue(e.compile)
	return e
}

const maxKey = 94

var table = index(dataAPIs, groupAPIs, shareAPIs, adminAPIs, securityAPIs)

func index(groups ...[]*entry) (t [maxKey + 1]*entry) {
	for _, g := range groups {
		for _, e := range g {
			t[e.Key] = e
		}
	}
	return t
}

func find(key int16) *entry {
	if key < 0 || key > maxKey {
		return nil
	}
	return table[key]
}

// Lookup finds the row of key. Keys that only controllers serve are unknown.
func Lookup(key int16) (API, bool) {
	if e := find(key); e != nil {
		return e.API, true
	}
	return API{}, false
}

// All lists the table in order of keys.
func All() []API {
	var all []API
	for _, e := range table {
		if e != nil {
			all = append(all, e.API)
		}
	}
	return all
}

// lookupProgram finds the walk of one version, or says why there is none.
func lookupProgram(key, version int16) (*program, error) {
	e := find(key)
	if e == nil {
		return nil, unknownKey(key)
	}
	if version < e.first || version > e.Max {
		return nil, unknownVersion(e.API, version)
	}
	return &e.programs()[version-e.first], nil
}
