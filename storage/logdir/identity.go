package logdir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// What a start can find wrong with a directory. The messages say what was found, what was expected and what to do.
var (
	ErrInUse      = errors.New("data directory is in use")
	ErrNewer      = errors.New("data directory has a newer format")
	ErrOtherOwner = errors.New("data directory belongs to another broker or cluster")
	ErrIdentity   = errors.New("identity file cannot be read")
)

// formatVersion is the layout described in the package comment. A later one is refused, an earlier one migrated.
const formatVersion = 1

const (
	identityFile  = "meta.properties"
	identityLimit = 64 << 10
)

// identity is whose directory this is, in a file of Kafka's form.
type identity struct {
	clusterID string // "" until a cluster was joined
	brokerID  int32
	directory uuid.ID
}

func (id identity) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "version=%d\nnode.id=%d\ndirectory.id=%s\n", formatVersion, id.brokerID, id.directory)
	if id.clusterID != "" {
		fmt.Fprintf(&b, "cluster.id=%s\n", id.clusterID)
	}
	return b.Bytes()
}

// readIdentity answers fs.ErrNotExist for a new directory.
func readIdentity(files vfs.FS, path string) (identity, error) {
	data, err := vfs.ReadFile(files, path, identityLimit)
	if err != nil {
		return identity{}, err
	}
	props := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return identity{}, fmt.Errorf("%w: %s: line %q is not name=value", ErrIdentity, path, line)
		}
		props[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	version, err := strconv.Atoi(props["version"])
	if err != nil {
		return identity{}, fmt.Errorf("%w: %s: version is %q, want a number", ErrIdentity, path, props["version"])
	}
	if version > formatVersion {
		return identity{}, fmt.Errorf("%w: %s says version %d, this build knows up to %d; use the build that wrote it, or a newer one", ErrNewer, path, version, formatVersion)
	}
	broker, err := strconv.ParseInt(props["node.id"], 10, 32)
	if err != nil {
		return identity{}, fmt.Errorf("%w: %s: node.id is %q, want a number", ErrIdentity, path, props["node.id"])
	}
	dir, err := uuid.Parse(props["directory.id"])
	if err != nil {
		return identity{}, fmt.Errorf("%w: %s: directory.id: %w", ErrIdentity, path, err)
	}
	return identity{clusterID: props["cluster.id"], brokerID: int32(broker), directory: dir}, nil
}

// identify reads the directory's identity, or gives a new directory one.
func (d *Dir) identify() error {
	path := d.path(identityFile)
	id, err := readIdentity(d.o.FS, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.identity = identity{brokerID: d.o.BrokerID, directory: uuid.New()}
		return vfs.WriteFileAtomic(d.o.FS, path, d.identity.encode())
	case err != nil:
		return err
	case id.brokerID != d.o.BrokerID:
		return fmt.Errorf("%w: %s says node.id %d, this broker is %d; start it with --broker-id %d or give it another --data-dir",
			ErrOtherOwner, path, id.brokerID, d.o.BrokerID, id.brokerID)
	}
	d.identity = id
	return nil
}

// SetClusterID records the cluster the directory belongs to from now on. Joining another than before is an error.
func (d *Dir) SetClusterID(id string) error {
	switch d.identity.clusterID {
	case id:
		return nil
	case "":
		d.identity.clusterID = id
		return vfs.WriteFileAtomic(d.o.FS, d.path(identityFile), d.identity.encode())
	}
	return fmt.Errorf("%w: %s says cluster.id %s, the cluster is %s; give the broker another --data-dir or its own cluster's --etcd",
		ErrOtherOwner, d.path(identityFile), d.identity.clusterID, id)
}

// ClusterID is the cluster the directory belongs to, "" if it has not joined one.
func (d *Dir) ClusterID() string { return d.identity.clusterID }

// ID is the directory's own id.
func (d *Dir) ID() uuid.ID { return d.identity.directory }
