package share

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/share/window"
)

func TestGrantsAreCutBehindBatches(t *testing.T) {
	grant := func(first, last int64) window.Grant { return window.Grant{First: first, Last: last, Deliveries: 1} }
	batches := []window.Span{{First: 0, Last: 2}, {First: 3, Last: 4}, {First: 5, Last: 5}}
	for name, c := range map[string]struct {
		size   int64
		grants []window.Grant
		want   []window.Grant
	}{
		"each batch":                {1, []window.Grant{grant(0, 5)}, []window.Grant{grant(0, 2), grant(3, 4), grant(5, 5)}},
		"as Kafka with 2":           {2, []window.Grant{grant(0, 5)}, []window.Grant{grant(0, 2), grant(3, 4), grant(5, 5)}},
		"as Kafka with 4":           {4, []window.Grant{grant(0, 5)}, []window.Grant{grant(0, 4), grant(5, 5)}},
		"all in one":                {6, []window.Grant{grant(0, 5)}, []window.Grant{grant(0, 5)}},
		"from within a batch":       {1, []window.Grant{grant(1, 3)}, []window.Grant{grant(1, 2), grant(3, 3)}},
		"several with gaps":         {1, []window.Grant{grant(0, 0), grant(2, 3), grant(5, 5)}, []window.Grant{grant(0, 0), grant(2, 2), grant(3, 3), grant(5, 5)}},
		"a part is never too small": {3, []window.Grant{grant(1, 5)}, []window.Grant{grant(1, 4), grant(5, 5)}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, cutGrants(c.grants, batches, c.size))
		})
	}
}
