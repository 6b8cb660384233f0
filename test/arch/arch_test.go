// Package arch holds the rules about the shape of the source tree as tests: which
// package may import which, who may touch the outside world, and how large a file
// may grow.
package arch

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tidemark-mq/tidemark/"

// allowed maps each package to the packages of ours it may import. A name ending in
// "/..." stands for everything below. Changing a row needs a reason in its commit.
var allowed = map[string][]string{
	"protocol/uuid":   {},
	"protocol/wire":   {"protocol/uuid"},
	"protocol/record": {},
	// What goes through the front door beside Kafka's requests.
	"protocol/private": {"protocol/uuid"},

	"storage/vfs":     {},
	"storage/kv":      {"storage/vfs"},
	"storage/segment": {"storage/vfs", "protocol/record", "protocol/uuid"},
	"storage/log":     {"storage/vfs", "storage/segment", "protocol/record", "protocol/uuid"},
	"storage/journal": {"storage/vfs", "protocol/record", "protocol/uuid"},
	"storage/cleaner": {"storage/log", "storage/segment", "protocol/record"},
	"storage/logdir":  {"storage/...", "protocol/record", "protocol/uuid"},

	"coordinator/config":  {},
	"coordinator/cluster": {"coordinator/config", "protocol/uuid"},
	"coordinator/runtime": {"storage/kv", "storage/vfs", "protocol/record", "protocol/uuid"},
	"coordinator/share":   {"coordinator/runtime", "storage/kv", "protocol/..."},
	"coordinator/group":   {"coordinator/runtime", "coordinator/share", "storage/kv", "protocol/..."},

	"broker/call":         {"protocol/..."},
	"broker/clock":        {},
	"broker/quota":        {},
	"broker/admin":        {},
	"broker/server":       {"broker/call", "broker/quota", "protocol/..."},
	"broker/replica":      {"storage/log", "storage/logdir", "coordinator/cluster", "coordinator/config", "coordinator/runtime", "protocol/..."},
	"broker/fetch":        {"broker/call", "broker/replica", "coordinator/cluster", "protocol/..."},
	"broker/share/window": {"coordinator/share"},
	"broker/share":        {"broker/share/window", "broker/clock", "broker/replica", "broker/call", "coordinator/share", "coordinator/cluster", "coordinator/config", "storage/log", "protocol/..."},
	"broker/delay":        {"broker/clock", "broker/replica", "broker/call", "coordinator/runtime", "coordinator/cluster", "coordinator/config", "storage/kv", "storage/log", "protocol/..."},
	"broker/handler":      {"broker/call", "broker/quota", "broker/replica", "broker/fetch", "broker/share", "broker/delay", "coordinator/...", "protocol/..."},
	"broker":              {"broker/...", "coordinator/...", "storage/...", "protocol/..."},

	// dmsext knows the broker through an interface with one method, Do, and what goes through it.
	"dmsext/queue":    {"protocol/private", "protocol/record", "protocol/uuid"},
	"dmsext/identity": {"protocol/private"},
	"dmsext/rest":     {"dmsext/queue", "dmsext/identity"},

	"cmd/tidemark": {"broker", "broker/...", "dmsext/...", "coordinator/...", "storage/...", "protocol/..."},
	"test":         {"..."},
}

// doors names, for each way to the outside world, the only packages that may use it.
// Tests are free of it.
var doors = map[string][]string{
	"os":                                   {"storage/vfs", "cmd/tidemark", "test"},
	"net":                                  {"broker/server", "broker/admin", "broker/call", "coordinator/cluster", "dmsext/rest", "dmsext/identity", "cmd/tidemark", "broker", "test"},
	"net/http":                             {"broker/admin", "dmsext/queue", "dmsext/rest", "dmsext/identity", "cmd/tidemark", "test"}, // queue: the names of statuses,
	"math/rand":                            {"test"},
	"github.com/cockroachdb/pebble/v2":     {"storage/kv", "test"},
	"go.etcd.io/etcd/client/v3":            {"coordinator/cluster", "test"},
	"go.etcd.io/etcd/server/v3/embed":      {"coordinator/cluster", "test"},
	"github.com/twmb/franz-go/pkg/kgo":     {"cmd/tidemark", "test"},
	"github.com/cockroachdb/pebble/v2/vfs": {"storage/vfs", "storage/kv", "test"},
	"github.com/twmb/franz-go/pkg/kerr":    {"coordinator/group", "coordinator/share", "broker/handler", "broker/fetch", "broker/share", "broker/delay", "broker/call", "dmsext/queue", "dmsext/identity", "cmd/tidemark", "test"},
}

// maxLines is the size past which a file must say at its head why it is that long
// (a comment containing "long because").
const maxLines = 500

func TestImportsRunOneWay(t *testing.T) {
	for pkg, files := range packages(t) {
		row, known := lookup(pkg)
		if !known {
			t.Errorf("package %s is not in the import table of test/arch: add its row, with the reason in the commit", pkg)
			continue
		}
		for file, imports := range files {
			for _, imp := range imports {
				own, ours := strings.CutPrefix(imp, module)
				if !ours || own == pkg || strings.HasSuffix(file, "_test.go") {
					continue
				}
				if !matches(row, own) {
					t.Errorf("%s imports %s; %s may import %v", file, own, pkg, row)
				}
			}
		}
	}
}

func TestTestsDoNotImportUpwards(t *testing.T) {
	rank := map[string]int{"protocol": 0, "storage": 1, "coordinator": 2, "broker": 3, "dmsext": 4, "cmd": 5, "test": 6}
	for pkg, files := range packages(t) {
		for file, imports := range files {
			for _, imp := range imports {
				own, ours := strings.CutPrefix(imp, module)
				if ours && rank[top(own)] > rank[top(pkg)] {
					t.Errorf("%s (in %s) imports %s, which lies above it", file, pkg, own)
				}
			}
		}
	}
}

func TestOutsideWorldHasDoors(t *testing.T) {
	for pkg, files := range packages(t) {
		for file, imports := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, imp := range imports {
				if who, guarded := doors[imp]; guarded && !matches(who, pkg) && top(pkg) != "test" {
					t.Errorf("%s imports %q; only %v may", file, imp, who)
				}
			}
		}
	}
}

func TestFilesHaveOneJob(t *testing.T) {
	for _, files := range packages(t) {
		for file := range files {
			lines, excused := measure(t, file)
			if lines > maxLines && !excused && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s has %d lines (limit %d): split it, or say at its head why it is \"long because\" of what", file, lines, maxLines)
			}
		}
	}
}

func TestNoDrawerPackages(t *testing.T) {
	for pkg := range packages(t) {
		switch filepath.Base(pkg) {
		case "util", "utils", "common", "helpers", "misc", "types", "shared", "base":
			t.Errorf("package %s: name it after what it does", pkg)
		}
	}
}

func TestEveryTopFolderHasAReadme(t *testing.T) {
	for _, dir := range []string{"cmd", "protocol", "storage", "coordinator", "broker", "dmsext", "test"} {
		if _, err := os.Stat(filepath.Join(root(t), dir, "README.md")); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func lookup(pkg string) ([]string, bool) {
	if top(pkg) == "test" {
		return allowed["test"], true
	}
	row, ok := allowed[pkg]
	return row, ok
}

func matches(row []string, pkg string) bool {
	for _, r := range row {
		if prefix, wide := strings.CutSuffix(r, "..."); r == pkg || wide && strings.HasPrefix(pkg, prefix) {
			return true
		}
	}
	return false
}

func top(pkg string) string { name, _, _ := strings.Cut(pkg, "/"); return name }

// packages reads every Go file of the tree: package path, file, imports.
func packages(t *testing.T) map[string]map[string][]string {
	t.Helper()
	base := root(t)
	out := map[string]map[string][]string{}
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(base, filepath.Dir(path))
		rel = filepath.ToSlash(rel)
		if out[rel] == nil {
			out[rel] = map[string][]string{}
		}
		var imports []string
		for _, i := range f.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			imports = append(imports, p)
		}
		sort.Strings(imports)
		out[rel][path] = imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func measure(t *testing.T, file string) (lines int, excused bool) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines++
		if lines <= 40 && strings.Contains(s.Text(), "long because") {
			excused = true
		}
	}
	return lines, excused
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(filepath.Dir(dir))
}
