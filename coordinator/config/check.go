package config

import (
	"slices"
	"strconv"
	"strings"
)

// The checks below take canonical values (see Key.Parse), so parsing cannot fail again.

func atLeast(lo int64) func(string, string) error {
	return func(name, value string) error {
		if n, _ := strconv.ParseInt(value, 10, 64); n < lo {
			return invalidf("Invalid value %s for configuration %s: Value must be at least %d", value, name, lo)
		}
		return nil
	}
}

func between(lo, hi int64) func(string, string) error {
	return func(name, value string) error {
		if err := atLeast(lo)(name, value); err != nil {
			return err
		}
		if n, _ := strconv.ParseInt(value, 10, 64); n > hi {
			return invalidf("Invalid value %s for configuration %s: Value must be no more than %d", value, name, hi)
		}
		return nil
	}
}

func ratio(name, value string) error {
	if f, _ := strconv.ParseFloat(value, 64); f < 0 || f > 1 {
		return invalidf("Invalid value %s for configuration %s: Value must be between 0 and 1", value, name)
	}
	return nil
}

func oneOf(values ...string) func(string, string) error {
	return func(name, value string) error {
		if !slices.Contains(values, value) {
			return invalidf("Invalid value %s for configuration %s: String must be one of: %s", value, name, strings.Join(values, ", "))
		}
		return nil
	}
}

// someOf admits a list of the given values; the empty list too.
func someOf(values ...string) func(string, string) error {
	return func(name, value string) error {
		for _, v := range Split(value) {
			if !slices.Contains(values, v) {
				return invalidf("Invalid value %s for configuration %s: String must be one of: %s", v, name, strings.Join(values, ", "))
			}
		}
		return nil
	}
}

// gzipLevel is -1 (the library's default) or 1 to 9 (KIP-390).
func gzipLevel(name, value string) error {
	if value == "-1" {
		return nil
	}
	if err := between(1, 9)(name, value); err != nil {
		return invalidf("Invalid value %s for configuration %s: Value must be between 1 and 9 or equal to -1", value, name)
	}
	return nil
}

// throttledReplicas is "*", nothing, or a list of partition:broker.
func throttledReplicas(name, value string) error {
	if strings.TrimSpace(value) == "*" {
		return nil
	}
	for _, pair := range Split(value) {
		p, b, ok := strings.Cut(pair, ":")
		if !ok || !digits(p) || !digits(b) {
			return invalidf("Invalid value [%s] for configuration %s: %s must be the literal '*' or a list of replicas in the form [partitionId]:[brokerId],[partitionId]:[brokerId],...", value, name, name)
		}
	}
	return nil
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func topicName(name, value string) error {
	if strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" || len(value) > 249 {
		return invalidf("Invalid value %s for configuration %s: not a valid topic name", value, name)
	}
	return nil
}
