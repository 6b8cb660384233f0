package wire

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is the header of a request.
type Header struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // empty if the client gave none; always valid UTF-8
	HasClientID   bool
}

// ParseHeader reads the header of a frame (without its size) and gives the body that follows it.
//
// Errors: *MalformedError, ErrUnknownKey, ErrUnknownVersion; with the last one the header is filled nevertheless.
// ApiVersions passes in any version, because Kafka answers it in any: ask Lookup whether the body can be read.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	if len(frame) < 8 {
		return Header{}, nil, &MalformedError{Key: -1, Version: -1, Offset: len(frame), Reason: "header: " + cutShort}
	}
	h = Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	e := find(h.Key)
	if e == nil {
		return Header{}, nil, unknownKey(h.Key)
	}
	w := walk{buf: frame, off: 8}
	if !w.header(&h, e.flexible(h.Version)) {
		return Header{}, nil, &MalformedError{Key: h.Key, Version: h.Version, Offset: w.off, Reason: "header: " + w.at.field + ": " + w.reason}
	}
	if !e.serves(h.Version) && h.Key != keyApiVersions {
		return h, nil, unknownVersion(e.API, h.Version)
	}
	return h, frame[w.off:], nil
}

var (
	headerClientID = op{code: opString, min: 2, field: "client id", nullable: true}
	headerTags     = op{code: opTags, min: 1, field: "tags"}
)

func (w *walk) header(h *Header, flexible bool) bool {
	start := w.off + 2
	if w.left() < headerClientID.min {
		return w.fail(&headerClientID, cutShort)
	}
	if !w.text(&headerClientID) {
		return false
	}
	h.HasClientID = w.buf[start-2] < 0x80
	h.ClientID = string(w.buf[start:w.off])
	if w.badText {
		h.ClientID = validText(h.ClientID)
	}
	if !flexible {
		return true
	}
	if w.left() < headerTags.min {
		return w.fail(&headerTags, cutShort)
	}
	return w.tags(&headerTags)
}

// validText puts U+FFFD for each byte that is not UTF-8, as Kafka's decoding does.
func validText(s string) string { return string([]rune(s)) }

// AppendResponseHeader appends the header of a response, without a size.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if e := find(key); e != nil && key != keyApiVersions && e.flexible(version) {
		dst = append(dst, 0)
	}
	return dst
}

// ErrResponseTooLarge says that a response does not fit the size field of a frame.
var ErrResponseTooLarge = errors.New("response above 2 GiB")

// AppendFrame appends the size and the header of a response whose body of bodyLen bytes follows in other pieces. The only error is
// ErrResponseTooLarge, with dst as it was.
func AppendFrame(dst []byte, key, version int16, correlationID int32, bodyLen int) ([]byte, error) {
	at := len(dst)
	dst = AppendResponseHeader(append(dst, 0, 0, 0, 0), key, version, correlationID)
	return sized(dst, at, bodyLen)
}

// AppendResponse appends a whole response: size, header, body. The only error is ErrResponseTooLarge, with dst as it was.
func AppendResponse(dst []byte, correlationID int32, body kmsg.Response) ([]byte, error) {
	at := len(dst)
	dst = AppendResponseHeader(append(dst, 0, 0, 0, 0), body.Key(), body.GetVersion(), correlationID)
	return sized(body.AppendTo(dst), at, 0)
}

// sized puts the size of the frame that starts at dst[at:] and has more bytes to come.
func sized(dst []byte, at, more int) ([]byte, error) {
	n := len(dst) - at - 4 + more
	if n > math.MaxInt32 {
		return dst[:at], ErrResponseTooLarge
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(n))
	return dst, nil
}
