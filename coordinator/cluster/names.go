package cluster

import "strings"

// maxTopicName is the longest topic name: with the suffixes of its directory it has to fit into a file name (Kafka's Topic.MAX_NAME_LENGTH).
const maxTopicName = 249

// metadataTopic is the name under which Kafka shows its own metadata log. It cannot be made.
const metadataTopic = "__cluster_metadata"

// IsInternal reports whether a topic of that name is kept by the brokers for themselves.
func IsInternal(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__share_group_state", "__delayed_messages":
		return true
	}
	return false
}

// ValidateTopicName checks a name by Kafka's rules: 1 to 249 of a-z A-Z 0-9 . _ -, not "." or "..". The error is ErrInvalidTopicName.
func ValidateTopicName(name string) error {
	const invalid = "Topic name is invalid: "
	switch {
	case name == "":
		return refuse(ErrInvalidTopicName, invalid+"the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(ErrInvalidTopicName, invalid+"'%s' is not allowed", name)
	case len([]rune(name)) > maxTopicName:
		return refuse(ErrInvalidTopicName, invalid+"the length of '%s' is longer than the max allowed length %d", name, maxTopicName)
	}
	for i := range len(name) {
		if !legalInName(name[i]) {
			return refuse(ErrInvalidTopicName,
				invalid+"'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}

func legalInName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// fold maps the names that must not exist beside each other to one: metric names write '.' as '_'.
func fold(name string) string { return strings.ReplaceAll(name, ".", "_") }

// foldable reports whether a name can collide at all.
func foldable(name string) bool { return strings.ContainsAny(name, "._") }
