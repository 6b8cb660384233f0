package queue

import (
	"time"
	"unicode/utf8"
)

// Limits of the DMS service (DMS reference, sections 2 to 5 and 9.4).
const (
	mostQueueName   = 64
	mostGroupName   = 32
	mostDescription = 160
	mostConsume     = 100
	mostHours       = 72

	mostMessages = 10        // in a call, either way
	maxCallBytes = 512 << 10 // of messages in a call, either way
	mostLabels   = 3
	mostLabel    = 64
	mostDelay    = 7 * 24 * time.Hour

	leastWait, mostWait       = time.Second, 60 * time.Second
	leastAckWait, mostAckWait = 15 * time.Second, 300 * time.Second
)

// isName tells whether s consists of letters, digits, - and _ of ASCII.
func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// checkProject checks the form of a project's name, of which topics' names are made.
func checkProject(project string) error {
	if project == "" || len(project) > 64 || !isName(project) {
		return badf(CodeProject, "The project ID format is invalid.")
	}
	return nil
}

// checkNames checks the form of the names by which a queue is asked for.
func checkNames(project, queue string) error {
	if err := checkProject(project); err != nil {
		return err
	}
	if _, ok := parseUUID(queue); !ok {
		return badf(CodeQueueID, "The queue ID format is invalid.")
	}
	return nil
}

// checkQueue checks a queue that is to be made, by the rules of section 2.1.
func checkQueue(n *NewQueue) error {
	switch length := utf8.RuneCountInString(n.Name); {
	case length == 0 || length > mostQueueName:
		return badf(CodeQueueNameLength, "The queue name must be 1 to %d characters long.", mostQueueName)
	case !isName(n.Name):
		return badf(CodeName, "The queue name may contain only letters, digits, hyphens and underscores.")
	}
	if d := n.Description; d != nil {
		if utf8.RuneCountInString(*d) > mostDescription {
			return badf(CodeDescriptionLength, "The description must not be longer than %d characters.", mostDescription)
		}
		for _, c := range *d {
			if c == '<' || c == '>' {
				return badf(CodeDescription, "The description must not contain < or >.")
			}
		}
	}
	return checkMode(n)
}

func checkMode(n *NewQueue) error {
	switch n.Mode {
	case "", Normal, FIFO:
		if n.RetentionHours != 0 {
			return badf(CodeRetentionMode, "retention_hours is for the queue modes %s and %s only.", KafkaHA, KafkaHT)
		}
	case KafkaHA, KafkaHT:
		if n.Redrive {
			return badf(CodeFormat, "The request format is incorrect: a Kafka queue has no dead letters, redrive_policy can not be enabled.")
		}
		if n.RetentionHours < 0 || n.RetentionHours > mostHours {
			return badf(CodeRetention, "retention_hours must be an integer from 1 to %d.", mostHours)
		}
	default:
		return badf(CodeFormat, "The request format is incorrect: queue_mode must be %s, %s, %s or %s.", Normal, FIFO, KafkaHA, KafkaHT)
	}
	if n.Redrive && (n.MaxConsumeCount < 1 || n.MaxConsumeCount > mostConsume) {
		return badf(CodeMaxConsumeCount, "max_consume_count must be an integer from 1 to %d.", mostConsume)
	}
	if n.Partitions < 0 || n.Partitions > mostPartitions || n.Mode == FIFO && n.Partitions > 1 {
		return badf(CodeFormat, "The request format is incorrect: a queue has 1 to %d partitions, a FIFO queue one.", mostPartitions)
	}
	return nil
}

// checkGroupName checks the name of a group by the rules of section 3.1.
func checkGroupName(name string) error {
	switch length := utf8.RuneCountInString(name); {
	case length == 0 || length > mostGroupName:
		return badf(CodeGroupNameLength, "The consumer group name must be 1 to %d characters long.", mostGroupName)
	case !isName(name):
		return badf(CodeName, "The consumer group name may contain only letters, digits, hyphens and underscores.")
	}
	return nil
}

// checkLabel checks one label of a message or of a retrieval.
func checkLabel(label string) error {
	if label == "" || len(label) > mostLabel || !isName(label) {
		return badf(CodeLabelName, "The tag name is invalid: it must be 1 to %d letters, digits, hyphens and underscores.", mostLabel)
	}
	return nil
}

// checkReceive checks a retrieval by the rules of section 4.2.
func checkReceive(r *Receive) error {
	switch {
	case r.Max < 1 || r.Max > mostMessages:
		return badf(CodeMaxMessages, "max_msgs must be an integer from 1 to %d.", mostMessages)
	case r.Wait < leastWait || r.Wait > mostWait:
		return badf(CodeTimeWait, "time_wait must be an integer from %d to %d.", leastWait/time.Second, mostWait/time.Second)
	case r.AckWait < leastAckWait || r.AckWait > mostAckWait:
		return badf(CodeAckWait, "ack_wait must be an integer from %d to %d.", leastAckWait/time.Second, mostAckWait/time.Second)
	case len(r.Labels) > mostLabels:
		return badf(CodeQuery, "The URL has invalid parameters: at most %d tags.", mostLabels)
	}
	for _, label := range r.Labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	return nil
}
