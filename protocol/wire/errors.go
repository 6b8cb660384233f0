package wire

import (
	"errors"
	"fmt"
)

// Errors of requests that Kafka does not know. Kafka closes the connection for both; only ApiVersions is answered in
// any version.
var (
	ErrUnknownKey     = errors.New("api key is not served to clients")
	ErrUnknownVersion = errors.New("api version is not served")
)

// MalformedError says where a request stops making sense. Kafka closes the connection on one.
type MalformedError struct {
	Key, Version int16  // as far as they could be read, else -1
	Offset       int    // in the body, or in the frame when the header is at fault
	Reason       string // for logs
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed request, api key %d version %d, at byte %d: %s", e.Key, e.Version, e.Offset, e.Reason)
}

func unknownKey(key int16) error { return fmt.Errorf("api key %d: %w", key, ErrUnknownKey) }

func unknownVersion(api API, version int16) error {
	return fmt.Errorf("%s version %d, served are %d to %d: %w", api.Name, version, api.Min, api.Max, ErrUnknownVersion)
}
