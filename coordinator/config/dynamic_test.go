package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBrokerSettingsSetWhileRunning(t *testing.T) {
	for _, c := range []struct {
		name, value string
		wide        bool
		want        string // "" = refused
	}{
		{"message.max.bytes", " 5 ", true, " 5 "},
		{"message.max.bytes", "abc", true, ""},
		{"message.max.bytes", "-1", false, ""},
		{"broker.id", "5", true, ""},
		{"log.dirs", "x", false, ""},
		{"no.such.key", " kept ", true, " kept "},
		{"listeners", "PLAINTEXT://:1", true, ""},
		{"listeners", "PLAINTEXT://:1", false, "PLAINTEXT://:1"},
	} {
		next := map[string]string{c.name: c.value, "kept.anyway": "1"}
		got, err := ValidateBroker(next, []string{c.name}, c.wide)
		if c.want == "" {
			require.ErrorIs(t, err, ErrMalformed, c.name)
			require.ErrorIs(t, err, ErrInvalid, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, map[string]string{c.name: c.want, "kept.anyway": "1"}, got)
	}
	require.ErrorIs(t, CheckPermanent("min.insync.replicas", true, true), ErrInvalid)
	require.NoError(t, CheckPermanent("min.insync.replicas", true, false))
	require.ErrorIs(t, CheckPermanent("min.insync.replicas", false, false), ErrInvalid)
	require.NoError(t, CheckPermanent("message.max.bytes", true, true))
}

func TestFaultsOfClientMetrics(t *testing.T) {
	for _, own := range []map[string]string{{"interval.ms": "1"}, {"no.such": "1"}, {"no.such": "1", "match": "client_id=x"}} {
		_, err := ValidateClientMetrics(own)
		require.ErrorIs(t, err, ErrMalformed, "%v", own)
	}
	for _, own := range []map[string]string{{"match": "colour=red"}, {"match": "client_id=("}, {"interval.ms": "x"}} {
		_, err := ValidateClientMetrics(own)
		require.ErrorIs(t, err, ErrInvalid)
		require.NotErrorIs(t, err, ErrMalformed, "%v", own)
	}
}
