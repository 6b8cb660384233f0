package sdk

// The bodies that the clients in Go decode, strictly typed as the vendor's are.

type queue struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Mode        string  `json:"queue_mode"`
	Description string  `json:"description"`
	Topic       string  `json:"kafka_topic"`
	Created     float64 `json:"created"`
	Reservation int     `json:"reservation"`
	MaxBytes    int     `json:"max_msg_size_byte"`
	Produced    int     `json:"produced_messages"`
	Groups      int     `json:"group_count"`
}

type queueList struct {
	Total  int     `json:"total"`
	Queues []queue `json:"queues"`
}

type group struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Produced  int    `json:"produced_messages"`
	Consumed  int    `json:"consumed_messages"`
	Available int    `json:"available_messages"`
}

type groupList struct {
	Groups []group `json:"groups"`
}

type sendAnswer struct {
	Messages []struct {
		State int    `json:"state"`
		ID    string `json:"id"`
	} `json:"messages"`
}

type delivery struct {
	Message struct {
		Body       any            `json:"body"`
		Attributes map[string]any `json:"attributes"`
		Tags       []string       `json:"tags"`
	} `json:"message"`
	Handler string `json:"handler"`
}

type ackAnswer struct {
	Success int `json:"success"`
	Fail    int `json:"fail"`
}

// acks is the body that acknowledges deliveries.
func acks(ds []delivery, status string) map[string]any {
	list := make([]map[string]string, 0, len(ds))
	for _, d := range ds {
		list = append(list, map[string]string{"handler": d.Handler, "status": status})
	}
	return map[string]any{"message": list}
}
