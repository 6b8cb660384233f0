package wire

import "math"

// The vocabulary of the layouts in apis_*.go. A layout lists the fields of a request in the order of the wire, by the names kmsg
// gives them, so that the size of a decoded element can be taken from kmsg's types. Fields outside the versions a broker
// serves are left out.

type kind uint8

const (
	kindFixed   kind = iota // size bytes
	kindString              // int16 or compact length, and UTF-8
	kindBytes               // int32 or compact length, and bytes that a handler may keep
	kindRecords             // the same, but a handler has done with them before the frame is released
	kindList                // int32 or compact length, and elements
	kindGroup               // a structure; behind one byte if it may be null
)

const never = math.MaxInt16

// field is one field of a layout.
type field struct {
	name       string
	kind       kind
	size       int     // of kindFixed
	elems      []field // of kindList and kindGroup
	structs    bool    // elems are the fields of a structure, not one bare element
	minVersion int16
	maxVersion int16
	nullable   int16 // first version in which null is allowed, or never
	tagKey     int   // number of a tagged field, else -1
}

func newField(name string, k kind) field {
	return field{name: name, kind: k, maxVersion: never, nullable: never, tagKey: -1}
}

func fixed(name string, size int) field {
	f := newField(name, kindFixed)
	f.size = size
	return f
}

func boolean(name string) field { return fixed(name, 1) }
func i8(name string) field      { return fixed(name, 1) }
func i16(name string) field     { return fixed(name, 2) }
func u16(name string) field     { return fixed(name, 2) }
func i32(name string) field     { return fixed(name, 4) }
func i64(name string) field     { return fixed(name, 8) }
func f64(name string) field     { return fixed(name, 8) }
func id(name string) field      { return fixed(name, 16) }
func str(name string) field     { return newField(name, kindString) }
func raw(name string) field     { return newField(name, kindBytes) }
func records(name string) field { return newField(name, kindRecords) }

// list is an array of structures, listOf one of bare elements.
func list(name string, elems ...field) field {
	f := newField(name, kindList)
	f.elems, f.structs = elems, true
	return f
}

func listOf(name string, elem func(string) field) field {
	f := newField(name, kindList)
	f.elems = []field{elem("")}
	return f
}

func group(name string, elems ...field) field {
	f := newField(name, kindGroup)
	f.elems, f.structs = elems, true
	return f
}

// from and to bound the versions that have the field; both ends are included.
func (f field) from(version int16) field { f.minVersion = version; return f }
func (f field) to(version int16) field   { f.maxVersion = version; return f }

// null allows null in every version that has the field, nullFrom from one version on.
func (f field) null() field                  { f.nullable = 0; return f }
func (f field) nullFrom(version int16) field { f.nullable = version; return f }

// tag makes it a tagged field.
func (f field) tag(key int) field { f.tagKey = key; return f }

func (f field) in(version int16) bool { return version >= f.minVersion && version <= f.maxVersion }
