package segment

import (
	"fmt"
	"os"
	"testing"
)

func put(name, seed string, args ...any) {
	dir := "testdata/fuzz/" + name
	os.MkdirAll(dir, 0o755)
	s := "go test fuzz v1\n"
	for _, a := range args {
		switch v := a.(type) {
		case []byte:
			s += fmt.Sprintf("[]byte(%q)\n", v)
		case string:
			s += fmt.Sprintf("string(%q)\n", v)
		case int64:
			s += fmt.Sprintf("int64(%d)\n", v)
		}
	}
	os.WriteFile(dir+"/"+seed, []byte(s), 0o644)
}

func TestTmp(t *testing.T) {
	bent := func(at int, with ...byte) []byte {
		b := goodLog()
		copy(b[at:], with)
		return b
	}
	put("FuzzLoad", "length_lies", bent(8, 0x7f, 0xff, 0xff, 0xff))
	put("FuzzLoad", "negative_length", bent(8, 0xff, 0xff, 0xff, 0xf0))
	put("FuzzLoad", "offset_at_the_end_of_time", bent(0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	put("FuzzLoad", "negative_delta", bent(23, 0xff, 0xff, 0xff, 0xff))
	put("FuzzLoad", "old_magic", bent(16, 1))
	put("FuzzLoad", "zeros", make([]byte, 500))
	put("FuzzLoad", "repeated", append(goodLog(), goodLog()...))
	o := putOffsetEntry
	put("FuzzIndexes", "points_past_the_end", o(o(nil, 3, 82), 7, 1<<30), putTimeEntry(nil, 101, 3))
	put("FuzzIndexes", "points_into_a_batch", o(nil, 3, 90), putTimeEntry(nil, 101, 3))
	put("FuzzIndexes", "goes_down", o(o(nil, 7, 246), 3, 82), putTimeEntry(putTimeEntry(nil, 301, 7), 101, 3))
	put("FuzzIndexes", "negative", o(nil, -3, -82), putTimeEntry(nil, -101, -3))
	put("FuzzIndexes", "zeros", make([]byte, 64), make([]byte, 48))
	k := []byte("\x00\x01\xc1\xa3F\x8c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x01\xa2\bn\xd4\xc7\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	put("FuzzDecodeSnapshot", "of_kafka", k)
	put("FuzzDecodeSnapshot", "no_producers", EncodeSnapshot(0, func(func(*Producer) bool) {}))
	lie := append([]byte{}, k...)
	lie[6] = 0x7f
	put("FuzzDecodeSnapshot", "count_lies", lie)
	put("FuzzDecodeEpochs", "empty", []byte("0\n0\n"))
	put("FuzzDecodeEpochs", "count_lies", []byte("0\n999999999\n0 0\n"))
	put("FuzzDecodeMetadata", "kafka", []byte("version: 0\ntopic_id: Slz0M0OzTcuk7o1zW1rBJQ"))
	put("FuzzDecodeMetadata", "later_version", []byte("version: 7\ntopic_id: Slz0M0OzTcuk7o1zW1rBJQ"))
	put("FuzzAborted", "torn", AbortedTxn{1, 2, 3, 4}.encode(nil)[:20])
	put("FuzzAborted", "later_version", append(AbortedTxn{1, 2, 3, 4}.encode(nil), 0, 1, 34: 0))
	put("FuzzParseName", "largest", "09223372036854775807.snapshot.deleted")
	put("FuzzParseName", "too_large", "99999999999999999999.log")
}
