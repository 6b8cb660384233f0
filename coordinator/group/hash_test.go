package group

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The expected numbers and orders are those of a Java 17 virtual machine.

func TestPartitionForIsKafkas(t *testing.T) {
	for group, want := range map[string]struct{ hash, partition int32 }{
		"my-group":               {-1906497762, 12},
		"":                       {0, 0},
		"\U0001F600x":            {54959989, 39},
		"group-\u00e9":           {293427483, 33},
		"console-consumer-12345": {158455506, 6},
	} {
		require.Equal(t, want.hash, javaHash(group), group)
		require.Equal(t, want.partition, PartitionFor(group, 50), group)
	}
	require.EqualValues(t, 3, javaLen("\U0001F600x"))
}

func TestHashOrderIsThatOfAHashMap(t *testing.T) {
	for _, order := range [][]string{
		{"sticky", "range"},
		{"a", "b", "compatible", "sticky", "range", "roundrobin", "connect", "cooperative-sticky", "sessioned"},
		{"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p12", "p11", "p13"},
	} {
		for i := 1; i < len(order); i++ {
			require.LessOrEqual(t, hashOrder(order[i-1], len(order)), hashOrder(order[i], len(order)), "%v", order)
		}
	}
}
