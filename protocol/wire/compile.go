package wire

import (
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// opcode is what one step of a walk reads. Each consumes at least one byte.
type opcode uint8

const (
	opFixed  opcode = iota // min bytes
	opString               // length and text
	opBytes                // length and bytes
	opList                 // length and that many times inner
	opGroup                // a byte that says null or not, and inner
	opTags                 // a section of tagged fields
)

type op struct {
	code     opcode
	compact  bool
	nullable bool
	min      int    // least bytes it takes on the wire
	field    string // for messages
	inner    *block // opList, opGroup
	heap     int64  // of one decoded element of opList, the structure of opGroup, the string header that opString points to
	tags     []tagged
}

// tagged is a tag that the API has; content is nil in versions that do not have it yet.
type tagged struct {
	key     uint32
	content *block
}

type block struct {
	ops   []op
	min   int  // least bytes on the wire
	fixed bool // always takes min bytes
}

// program is the walk of one version of an API.
type program struct {
	body  *block
	heap  int64 // of the decoded request itself
	keeps bool  // has byte fields that a handler may keep
}

// compiler makes the program of one version.
type compiler struct {
	version  int16
	flexible bool
	keeps    bool
}

func (e *entry) compile() []program {
	t := reflect.TypeOf(kmsg.RequestForKey(e.Key)).Elem()
	programs := make([]program, e.Max-e.first+1)
	for i := range programs {
		c := compiler{version: e.first + int16(i)}
		c.flexible = e.flexible(c.version)
		body := c.structure(e.fields, t)
		programs[i] = program{body: body, heap: int64(t.Size()), keeps: c.keeps}
	}
	return programs
}

// structure compiles the fields of one structure; t is kmsg's type for it.
func (c *compiler) structure(fields []field, t reflect.Type) *block {
	b := &block{fixed: true}
	c.fields(b, fields, t)
	return b
}

func (c *compiler) fields(b *block, fields []field, t reflect.Type) {
	var tags []tagged
	for _, f := range fields {
		switch {
		case f.tagKey >= 0:
			tags = append(tags, c.tagged(f, t))
		case f.in(c.version):
			c.field(b, f, t)
		}
	}
	if c.flexible {
		b.push(op{code: opTags, min: 1, field: "tags", tags: tags})
	}
}

func (c *compiler) tagged(f field, t reflect.Type) tagged {
	tag := tagged{key: uint32(f.tagKey)}
	if f.in(c.version) {
		tag.content = &block{fixed: true}
		c.field(tag.content, f, t)
	}
	return tag
}

// field compiles one field; t is the type that has it, or the element's own for a bare element, which has no name.
func (c *compiler) field(b *block, f field, t reflect.Type) {
	t = typeOf(f, t)
	o := op{field: f.name, compact: c.flexible, nullable: c.version >= f.nullable}
	switch f.kind {
	case kindFixed:
		o.code, o.min = opFixed, f.size
	case kindString:
		o.code, o.min = opString, c.prefix(2)
		if t.Kind() == reflect.Pointer { // also in versions that allow no null
			o.heap = int64(reflect.TypeFor[string]().Size())
		}
	case kindBytes, kindRecords:
		o.code, o.min = opBytes, c.prefix(4)
		c.keeps = c.keeps || f.kind == kindBytes
	case kindList:
		o.code, o.min, o.heap = opList, c.prefix(4), int64(t.Elem().Size())
		o.inner = c.elements(f, t.Elem())
	case kindGroup:
		if !o.nullable {
			c.fields(b, f.elems, t)
			return
		}
		o.code, o.min, o.heap = opGroup, 1, int64(t.Elem().Size())
		o.inner = c.structure(f.elems, t.Elem())
	}
	b.push(o)
}

func (c *compiler) elements(f field, t reflect.Type) *block {
	if f.structs {
		return c.structure(f.elems, t)
	}
	b := &block{fixed: true}
	c.field(b, f.elems[0], t)
	return b
}

// prefix is the least size of a length: one byte when compact.
func (c *compiler) prefix(size int) int {
	if c.flexible {
		return 1
	}
	return size
}

// push adds a step; neighbouring fixed ones become one.
func (b *block) push(o op) {
	b.min += o.min
	if o.code != opFixed {
		b.fixed = false
	} else if n := len(b.ops); n > 0 && b.ops[n-1].code == opFixed {
		b.ops[n-1].min += o.min
		return
	}
	b.ops = append(b.ops, o)
}

// typeOf finds kmsg's type of a field. A layout that names a field kmsg does not have is a broken table, which the first
// test of that API shows.
func typeOf(f field, t reflect.Type) reflect.Type {
	if f.name == "" {
		return t
	}
	sf, ok := t.FieldByName(f.name)
	if !ok {
		panic(fmt.Sprintf("wire: kmsg has no field %s.%s", t, f.name))
	}
	return sf.Type
}
