package cluster

import (
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// DefaultPrefix is where a cluster's keys lie when Options.Prefix does not say otherwise.
const DefaultPrefix = "tidemark/"

const (
	brokersDir    = "brokers/"
	topicsDir     = "topics/"
	partitionsDir = "partitions/"
	configsDir    = "configs/"
	documentsDir  = "documents/"

	clusterName     = "cluster"
	featuresName    = "features"
	controllerName  = "controller"
	producerIDsName = "producer-ids"
)

// keys makes the keys of one cluster: its prefix is the value itself.
type keys string

func (k keys) cluster() string     { return string(k) + clusterName }
func (k keys) features() string    { return string(k) + featuresName }
func (k keys) controller() string  { return string(k) + controllerName }
func (k keys) producerIDs() string { return string(k) + producerIDsName }

func (k keys) broker(id int32) string {
	return string(k) + brokersDir + strconv.FormatInt(int64(id), 10)
}

func (k keys) topic(name string) string { return string(k) + topicsDir + name }

func (k keys) partition(id uuid.ID, n int32) string {
	return string(k) + partitionsDir + id.String() + "/" + strconv.FormatInt(int64(n), 10)
}

func (k keys) config(kind, name string) string {
	return string(k) + configsDir + kind + "/" + name
}

func (k keys) document(kind, name string) string {
	return string(k) + documentsDir + kind + "/" + name
}

// parseID reads the decimal ids of brokers and partitions as they are written: no sign, no leading zero, so that one id has one key.
func parseID(s string) (int32, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return int32(n), true
}

func parsePartitionKey(rest string) (uuid.ID, int32, bool) {
	text, number, found := strings.Cut(rest, "/")
	if !found {
		return uuid.ID{}, 0, false
	}
	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.ID{}, 0, false
	}
	n, ok := parseID(number)
	return id, n, ok
}

// parseConfigKey splits kind and name. The name may hold anything, slashes included, or nothing (the cluster-wide default).
func parseConfigKey(rest string) (configKey, bool) {
	kind, name, found := strings.Cut(rest, "/")
	return configKey{kind: kind, name: name}, found && kind != ""
}
