package wire

import (
	"encoding/binary"
	"math/rand/v2"
)

// layoutWriter writes requests from a layout alone, without kmsg. It notes where the lengths are, so that tests can lie there.
type layoutWriter struct {
	rng      *rand.Rand // nil: everything as small as it gets
	version  int16
	flexible bool
	nulls    bool // null wherever it is allowed, at random
	strange  int  // unknown tags in each structure, at most; exactly as many if everything is small
	wide     *field
	width    int // elements of the list that wide points to
	lengths  []lengthAt
	buf      []byte
}

type lengthKind int

const (
	ofText lengthKind = iota
	ofBytes
	ofList
	ofTags
)

// lengthAt is one length in what was written: where it starts and how many bytes it has.
type lengthAt struct {
	kind       lengthKind
	pos, bytes int
	nullable   bool
}

func (w *layoutWriter) upTo(n int) int {
	if w.rng == nil {
		return 0
	}
	return w.rng.IntN(n)
}

func (w *layoutWriter) structure(fields []field) {
	var tags []field
	for i, f := range fields {
		switch {
		case !f.in(w.version):
		case f.tagKey < 0:
			w.field(&fields[i])
		case w.upTo(2) == 1:
			tags = append(tags, f)
		}
	}
	if !w.flexible {
		return
	}
	strange := w.strange
	if w.rng != nil {
		strange = w.upTo(w.strange + 1)
	}
	w.compact(ofTags, len(tags)+strange, false)
	for i := range tags {
		content := layoutWriter{rng: w.rng, version: w.version, flexible: true}
		content.field(&tags[i])
		w.tag(tags[i].tagKey, content.buf)
	}
	for i := range strange {
		w.tag(50+i, []byte(w.text()))
	}
}

func (w *layoutWriter) tag(key int, content []byte) {
	w.buf = binary.AppendUvarint(w.buf, uint64(key))
	w.buf = binary.AppendUvarint(w.buf, uint64(len(content)))
	w.buf = append(w.buf, content...)
}

func (w *layoutWriter) text() string {
	if w.rng == nil {
		return ""
	}
	return randomText(w.rng)
}

func (w *layoutWriter) field(f *field) {
	nullable := w.version >= f.nullable
	null := nullable && w.nulls && w.upTo(2) == 0
	switch f.kind {
	case kindFixed:
		for range f.size {
			w.buf = append(w.buf, byte(w.upTo(2))) // a bool must read back as it was
		}
	case kindString, kindBytes, kindRecords:
		text, kind := w.text(), ofBytes
		if f.kind == kindString {
			kind = ofText
		}
		w.length(kind, len(text), nullable, null)
		if !null {
			w.buf = append(w.buf, text...)
		}
	case kindList:
		w.list(f, nullable, null)
	case kindGroup:
		if null {
			w.buf = append(w.buf, 0xff)
			return
		}
		if nullable {
			w.buf = append(w.buf, 1)
		}
		w.structure(f.elems)
	}
}

func (w *layoutWriter) list(f *field, nullable, null bool) {
	n := w.upTo(4)
	if w.wide != nil && holds(f, w.wide) {
		n = 1
	}
	if f == w.wide {
		n = w.width
	}
	w.length(ofList, n, nullable, null)
	for range n {
		switch {
		case null:
		case f.structs:
			w.structure(f.elems)
		default:
			w.field(&f.elems[0])
		}
	}
}

// holds reports whether wide is somewhere below f.
func holds(f, wide *field) bool {
	for i := range f.elems {
		if &f.elems[i] == wide || holds(&f.elems[i], wide) {
			return true
		}
	}
	return false
}

func (w *layoutWriter) length(kind lengthKind, n int, nullable, null bool) {
	if null {
		n = -1
	}
	if w.flexible {
		w.compact(kind, n+1, nullable)
		return
	}
	at := lengthAt{kind, len(w.buf), 4, nullable}
	if kind == ofText {
		at.bytes = 2
		w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(n))
	} else {
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(n))
	}
	w.lengths = append(w.lengths, at)
}

func (w *layoutWriter) compact(kind lengthKind, n int, nullable bool) {
	at := lengthAt{kind, len(w.buf), 0, nullable}
	w.buf = binary.AppendUvarint(w.buf, uint64(n))
	at.bytes = len(w.buf) - at.pos
	w.lengths = append(w.lengths, at)
}

// writeLayout writes a random request, null included.
func writeLayout(rng *rand.Rand, e *entry, version int16) *layoutWriter {
	w := &layoutWriter{rng: rng, version: version, flexible: e.flexible(version), nulls: true, strange: 2}
	w.structure(e.fields)
	return w
}
