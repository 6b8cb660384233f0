package broker

import "os"

// hostname is what clients are told for a listener on all addresses, as Kafka does.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
