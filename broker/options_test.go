package broker

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDistanceCountsChangedLetters(t *testing.T) {
	require.Zero(t, distance("flush", "flush", 9))
	require.Equal(t, 1, distance("minuts", "minutes", 9))
	require.Equal(t, 1, distance("minutes", "minuts", 9))
	require.Equal(t, 2, distance("retension.mS", "retention.ms", 9))
	require.Equal(t, 3, distance("kitten", "sitting", 9))
	require.Equal(t, 4, distance("", "four", 9))
	require.Equal(t, 2, distance("kitten", "sitting", 2), "no further than the limit")
}

func TestASettingMistypedIsSuggested(t *testing.T) {
	require.Contains(t, nearest("log.retention.minuts"), "log.retention.minutes?")
	require.Contains(t, nearest("num.partition"), "num.partitions?")
	require.Contains(t, nearest("zookeeper.connect"), "reference")
}

func TestAnEtcdMustBeAURL(t *testing.T) {
	o := Options{Listen: []string{"127.0.0.1:0"}, Etcd: []string{"http://127.0.0.1:2379", "localhost:2379", "not a url"}}
	_, err := o.check()
	require.ErrorContains(t, err, `etcd "localhost:2379"`)
	require.ErrorContains(t, err, `etcd "not a url"`)
	require.NotContains(t, err.Error(), "etcd \"http")
}

func TestTheAdminListenerStaysOnLoopback(t *testing.T) {
	o := Options{Listen: []string{"127.0.0.1:0"}}
	for address, want := range map[string]string{"nowhere": "want host:port", "127.0.0.1:http": "want host:port", ":9644": "--insecure", "192.0.2.1:9644": "--insecure"} {
		o.AdminListen = address
		_, err := o.check()
		require.ErrorContains(t, err, `admin-listen "`+address+`"`)
		require.ErrorContains(t, err, want)
	}
	for _, address := range []string{"", "127.0.0.1:0", "[::1]:9644", "localhost:9644"} {
		o.AdminListen = address
		_, err := o.check()
		require.NoError(t, err)
	}
	o.AdminListen, o.Insecure = ":9644", true
	_, err := o.check()
	require.NoError(t, err)
}

func TestSettingsAtTheirEdgesMeanWhatTheySay(t *testing.T) {
	require.Equal(t, 7*24*time.Hour, minutes(7*24*60))
	require.Equal(t, time.Duration(math.MaxInt64), minutes(math.MaxInt32), "4,000 years do not come out as less than none")
	require.Equal(t, time.Duration(math.MaxInt64), ms(math.MaxInt64))
	require.Negative(t, orNone(0), "0 is not the default")
	require.Equal(t, 5, orNone(5))
}
