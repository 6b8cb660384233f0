package private

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// ErrMalformed says that bytes are no message of the kind they are read as.
var ErrMalformed = errors.New("malformed private message")

// appendFields encodes the exported fields of the struct that m points to.
func appendFields(dst []byte, m any) []byte { return appendValue(dst, reflect.ValueOf(m).Elem()) }

func appendValue(dst []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0)
	case reflect.Int8:
		return append(dst, byte(v.Int()))
	case reflect.Int16:
		return binary.BigEndian.AppendUint16(dst, uint16(v.Int()))
	case reflect.Int32:
		return binary.BigEndian.AppendUint32(dst, uint32(v.Int()))
	case reflect.Int64:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int()))
	case reflect.String:
		dst = binary.AppendUvarint(dst, uint64(v.Len()))
		return append(dst, v.String()...)
	case reflect.Array:
		for i := range v.Len() {
			dst = append(dst, byte(v.Index(i).Uint()))
		}
		return dst
	case reflect.Slice:
		return appendSlice(dst, v)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				dst = appendValue(dst, v.Field(i))
			}
		}
		return dst
	}
	panic(fmt.Sprintf("private: a message has a field of kind %v", v.Kind())) // broken invariant: our own types
}

func appendSlice(dst []byte, v reflect.Value) []byte {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if v.IsNil() {
			return append(dst, 0)
		}
		dst = binary.AppendUvarint(dst, uint64(v.Len())+1)
		return append(dst, v.Bytes()...)
	}
	dst = binary.AppendUvarint(dst, uint64(v.Len()))
	for i := range v.Len() {
		dst = appendValue(dst, v.Index(i))
	}
	return dst
}

// readFields decodes what appendFields wrote; bytes left over are an error.
func readFields(src []byte, m any) error {
	r := reader{src: src}
	r.value(reflect.ValueOf(m).Elem())
	if r.bad || len(r.src) > 0 {
		return fmt.Errorf("%T: %w", m, ErrMalformed)
	}
	return nil
}

type reader struct {
	src []byte
	bad bool
}

// take cuts the next n bytes off; nil when they are not there.
func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.src)) {
		r.bad = true
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.src)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.src = r.src[size:]
	return n
}

func (r *reader) value(v reflect.Value) {
	if r.bad {
		return
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		r.number(v)
	case reflect.String:
		v.SetString(string(r.take(r.uvarint())))
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf(r.take(uint64(v.Len()))))
	case reflect.Slice:
		r.slice(v)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				r.value(v.Field(i))
			}
		}
	}
}

func (r *reader) number(v reflect.Value) {
	b := r.take(uint64(v.Type().Size()))
	if r.bad {
		return
	}
	switch len(b) {
	case 1:
		if v.Kind() == reflect.Bool {
			v.SetBool(b[0] != 0)
			return
		}
		v.SetInt(int64(int8(b[0])))
	case 2:
		v.SetInt(int64(int16(binary.BigEndian.Uint16(b))))
	case 4:
		v.SetInt(int64(int32(binary.BigEndian.Uint32(b))))
	case 8:
		v.SetInt(int64(binary.BigEndian.Uint64(b)))
	}
}

func (r *reader) slice(v reflect.Value) {
	n := r.uvarint()
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if n > 0 {
			v.SetBytes(append([]byte{}, r.take(n-1)...))
		}
		return
	}
	if n > uint64(len(r.src)) { // no element is smaller than a byte
		r.bad = true
		return
	}
	// Room is made as elements come: an element in memory may be much larger than its bytes.
	for range n {
		v.Grow(1)
		v.SetLen(v.Len() + 1)
		if r.value(v.Index(v.Len() - 1)); r.bad {
			return
		}
	}
}

// plain gives a message the methods of kmsg that are the same for all of them: there is one version.
type plain struct{}

func (plain) MaxVersion() int16 { return 0 }
func (plain) SetVersion(int16)  {}
func (plain) GetVersion() int16 { return 0 }
func (plain) IsFlexible() bool  { return true }
