package call

// API is one row of the broker's registry: what it serves and how. Rows do not change once the broker runs.
type API struct {
	Key  int16
	Name string
	// Min and Max are the versions advertised.
	Min, Max int16
	// ServedFrom is the lowest version answered, where it is not Min: Kafka advertises Produce from 0, because librdkafka
	// reads that as "may compress" (KAFKA-18659), and closes the connection below 3.
	ServedFrom int16
	// AnyVersion hands over requests of versions outside Min to Max as well, undecoded (ApiVersions).
	AnyVersion bool
	// Overlap lets a request start while earlier requests that have Overlap too are not answered yet. For APIs whose
	// effects happen before the handler returns and of which only the answer waits: Produce.
	Overlap bool
	// FrameLimit is the largest frame taken, in bytes; 0 is the server's own limit.
	FrameLimit int
	// Cost is the memory that handling takes beyond the decoded request, in bytes, as an upper figure for usual work.
	Cost int64
	// Handle takes over the call and answers it now or later.
	Handle func(*Call)
}

// Serves says whether a request of that version is decoded and handled.
func (a *API) Serves(version int16) bool {
	return version >= max(a.Min, a.ServedFrom) && version <= a.Max
}
