package logdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// identity is the content of meta.properties: lines of key=value, like Kafka's file of that name, with a kind that tells them
// apart.
//
//	kind=tidemark
//	version=1
//	node.id=1
//	cluster.id=...      not there before the broker has met its cluster
//	directory.id=...
type identity struct {
	broker    int32
	cluster   string
	directory uuid.ID
}

const (
	identityFile    = "meta.properties"
	identityLimit   = 64 << 10
	identityKind    = "tidemark"
	identityVersion = 1
)

// readIdentity reads meta.properties; found is false when there is none.
func readIdentity(fsys vfs.FS, dir string) (id identity, found bool, err error) {
	path := fsys.PathJoin(dir, identityFile)
	b, err := vfs.ReadFile(fsys, path, identityLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, fmt.Errorf("logdir: read %s: %w", path, err)
	}
	id, err = parseIdentity(path, b)
	return id, err == nil, err
}

// parseIdentity reads the content of meta.properties, which is at path.
func parseIdentity(path string, b []byte) (id identity, err error) {
	props := parseProperties(b)
	if kind := props["kind"]; kind != identityKind {
		whose := "other software"
		if props["node.id"] != "" || props["broker.id"] != "" {
			whose = "Apache Kafka"
		}
		return identity{}, fmt.Errorf("%w: %s says kind=%q, expected %q: the directory belongs to %s; choose another --data-dir",
			ErrForeign, path, kind, identityKind, whose)
	}
	version, err := strconv.Atoi(props["version"])
	if err != nil || version < 1 {
		return identity{}, fmt.Errorf("%w: %s says version=%q, expected a number; restore the file", ErrForeign, path, props["version"])
	}
	if version > identityVersion {
		return identity{}, fmt.Errorf("%w: %s says version=%d, this program knows up to %d; start a newer Tidemark, or choose another --data-dir",
			ErrNewer, path, version, identityVersion)
	}
	broker, err := strconv.ParseInt(props["node.id"], 10, 32)
	if err != nil || broker < 0 {
		return identity{}, fmt.Errorf("%w: %s says node.id=%q, expected a number; restore the file", ErrForeign, path, props["node.id"])
	}
	id = identity{broker: int32(broker), cluster: props["cluster.id"]}
	if id.directory, err = uuid.Parse(props["directory.id"]); err != nil {
		return identity{}, fmt.Errorf("%w: %s says directory.id=%q: %w; restore the file", ErrForeign, path, props["directory.id"], err)
	}
	return id, nil
}

func parseProperties(b []byte) map[string]string {
	props := map[string]string{}
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' || text[0] == '!' {
			continue
		}
		key, value, _ := strings.Cut(text, "=")
		props[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return props
}

// check compares the directory's identity with who is starting.
func (id *identity) check(dir string, broker int32, cluster string) error {
	if id.broker != broker {
		return fmt.Errorf("%w: %s was made by node.id=%d, this is broker %d; start with --broker-id %d, or choose another --data-dir",
			ErrWrongBroker, dir, id.broker, broker, id.broker)
	}
	if cluster != "" && id.cluster != "" && id.cluster != cluster {
		return fmt.Errorf("%w: %s belongs to cluster.id=%s, this broker joins cluster %s; choose another --data-dir, or another --etcd",
			ErrWrongCluster, dir, id.cluster, cluster)
	}
	return nil
}

// write makes the identity durable.
func (id *identity) write(fsys vfs.FS, dir string) error {
	props := map[string]string{
		"kind": identityKind, "version": strconv.Itoa(identityVersion),
		"node.id": strconv.Itoa(int(id.broker)), "directory.id": id.directory.String(),
	}
	if id.cluster != "" {
		props["cluster.id"] = id.cluster
	}
	keys := make([]string, 0, len(props))
	for key := range props {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var b bytes.Buffer
	for _, key := range keys {
		fmt.Fprintf(&b, "%s=%s\n", key, props[key])
	}
	path := fsys.PathJoin(dir, identityFile)
	if err := vfs.WriteFileAtomic(fsys, path, b.Bytes()); err != nil {
		return fmt.Errorf("logdir: write %s: %w", path, err)
	}
	return nil
}

// refuseForeign refuses a directory without meta.properties that holds files of somebody else.
func refuseForeign(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("logdir: list %s: %w", dir, err)
	}
	sort.Strings(names)
	for _, name := range names {
		switch name {
		case lockFile, identityFile + ".tmp", "lost+found":
		default:
			return fmt.Errorf("%w: %s holds %q and no %s; choose an empty directory as --data-dir", ErrForeign, dir, name, identityFile)
		}
	}
	return nil
}
