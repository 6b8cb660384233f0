package call

// API is one row of the broker's registry: what it serves and how. Rows do not change once the broker runs.
type API struct {
	Key  int16
	Name string
	// Min and Max are the versions advertised. Produce is advertised from 0 and closes the connection below 3, as Kafka
	// does, because librdkafka reads versions 0 to 2 as "may compress" (KAFKA-18659); package wire refuses those.
	Min, Max int16
	// AnyVersion hands over requests of versions outside Min to Max as well, undecoded (ApiVersions).
	AnyVersion bool
	// Overlap lets a request start while earlier requests that have Overlap too are not answered yet. For APIs whose
	// effects happen before the handler returns and of which only the answer waits: Produce.
	Overlap bool
	// Aliases says that the decoded request points into the frame, which is kept until the handler returns then (Produce's
	// records). All other requests are copies, and their frames are given back before the handler runs.
	Aliases bool
	// FrameLimit is the largest frame taken, in bytes; 0 is the server's own limit.
	FrameLimit int
	// Cost is the memory, in bytes, that handling takes beyond the decoded request, by the size of that; nil: little.
	Cost func(decoded int64) int64
	// Handle takes over the call and answers it now or later.
	Handle func(*Call)
}

// Serves says whether version is advertised.
func (a *API) Serves(version int16) bool { return version >= a.Min && version <= a.Max }
