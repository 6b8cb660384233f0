package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// envPrefix starts every environment variable the server reads: --data-dir is also
// TIDEMARK_DATA_DIR. Lists and name=value pairs are separated by commas there.
const envPrefix = "TIDEMARK_"

// delim never occurs in a setting's name, so that Kafka's dotted names stay whole.
const delim = "\x00"

// settings is what `tidemark serve` can be told, by flag, environment variable or file,
// the first of these that speaks winning. For --set they are merged name by name.
type settings struct {
	Config          string            `koanf:"config"`
	DataDir         string            `koanf:"data-dir"`
	Listen          []string          `koanf:"listen"`
	Advertise       []string          `koanf:"advertise"`
	AdminListen     string            `koanf:"admin-listen"`
	HTTPListen      string            `koanf:"http-listen"`
	HTTPURL         string            `koanf:"http-url"`
	Region          string            `koanf:"region"`
	QueueQuota      int               `koanf:"queue-quota"`
	GroupQuota      int               `koanf:"group-quota"`
	QueuePartitions int               `koanf:"queue-partitions"`
	BrokerID        int32             `koanf:"broker-id"`
	Rack            string            `koanf:"rack"`
	Etcd            []string          `koanf:"etcd"`
	Set             map[string]string `koanf:"-"`
	Insecure        bool              `koanf:"insecure"`
	LogLevel        string            `koanf:"log-level"`
	LogFormat       string            `koanf:"log-format"`
}

// serveFlags declares the flags with their defaults; the same names are the keys of the
// file and, in capitals, of the environment.
func serveFlags(f *pflag.FlagSet) {
	f.String("config", "", "YAML `file` with any of these settings by the same names")
	f.String("data-dir", "./tidemark-data", "`directory` of everything on disk; locked while in use")
	f.StringSlice("listen", []string{"127.0.0.1:9092"}, "Kafka listeners, `[NAME=]host:port`; port 0 picks a free one")
	f.StringSlice("advertise", nil, "what clients are told to connect to, `[NAME=]host:port` (default: as listened)")
	f.String("http-listen", "127.0.0.1:9080", "`host:port` of the queue service (DMS over HTTP); empty for none")
	f.String("http-url", "", "`URL` by which clients reach the queue service (default: as listened)")
	f.String("region", "local", "`name` of the region in the identity service's catalog")
	f.Int("queue-quota", 30, "queues that a project may have, 1-500")
	f.Int("group-quota", 3, "consumer groups that a queue may have, 1-10")
	f.Int("queue-partitions", 3, "partitions of a NORMAL queue, 1-100")
	f.String("admin-listen", "127.0.0.1:9644", "`host:port` of /healthz, /readyz, /metrics and /debug/pprof; empty for none")
	f.Int32("broker-id", 1, "this broker's `id` in its cluster")
	f.String("rack", "", "this broker's rack or zone, for `name`d placement")
	f.StringSlice("etcd", nil, "client `URL`s of an etcd cluster (default: embedded)")
	f.StringArray("set", nil, "a broker setting by Kafka's own name, `name=value`, repeated")
	f.Bool("insecure", false, "serve beyond loopback without authentication")
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "auto", "console, json, or auto: console on a terminal")
}

// readSettings merges flags, environment and file. Every problem found is in the error,
// each naming where the setting stands, its value and what is expected.
func readSettings(f *pflag.FlagSet, environ func() []string) (settings, error) {
	var problems []error
	k := koanf.New(delim)
	sets := map[string]string{}

	if path := configPath(f, environ); path != "" {
		problems = append(problems, readFile(k, sets, path)...)
	}
	problems = append(problems, readEnviron(k, f, sets, environ)...)

	given, err := f.GetStringArray("set")
	if err != nil {
		return settings{}, err
	}
	problems = append(problems, parseSets(sets, given, "--set")...)
	if err := k.Load(posflag.Provider(f, delim, k), nil); err != nil {
		return settings{}, err
	}
	var s settings
	if err := k.Unmarshal("", &s); err != nil {
		problems = append(problems, fmt.Errorf("settings: %w", err))
	}
	s.Set = sets
	problems = append(problems, s.check()...)
	return s, errors.Join(problems...)
}

func configPath(f *pflag.FlagSet, environ func() []string) string {
	if path, _ := f.GetString("config"); path != "" {
		return path
	}
	for _, e := range environ() {
		if path, ok := strings.CutPrefix(e, envPrefix+"CONFIG="); ok {
			return path
		}
	}
	return ""
}

func readFile(k *koanf.Koanf, sets map[string]string, path string) []error {
	own := koanf.New(delim)
	if err := own.Load(file.Provider(path), yaml.Parser()); err != nil {
		return []error{fmt.Errorf("--config %s: %w", path, err)}
	}
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	serveFlags(known)

	var problems []error
	raw := own.Raw()
	names := make([]string, 0, len(raw))
	for name := range raw {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if known.Lookup(name) == nil || name == "config" {
			problems = append(problems, fmt.Errorf("%s: unknown setting %s: %v; `tidemark serve --help` lists them", path, name, raw[name]))
			delete(raw, name)
		}
	}
	switch pairs := raw["set"].(type) {
	case nil:
	case map[string]any:
		for name, v := range pairs {
			text, err := single(v)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: set: %s: %w, as in `set: {log.retention.hours: 24}`", path, name, err))
				continue
			}
			sets[name] = text
		}
	default:
		problems = append(problems, fmt.Errorf("%s: set: want names with values beneath it, as in `set: {log.retention.hours: 24}`, not %v", path, pairs))
	}
	delete(raw, "set")
	for name, v := range raw {
		err := fits(known.Lookup(name), v)
		if err == nil {
			err = k.Set(name, v)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", path, name, err))
		}
	}
	return problems
}

// fits tells what is wrong with a value from the environment or the file, nil when its flag would take it.
func fits(flag *pflag.Flag, value any) error {
	if flag.Value.Type() == "stringSlice" {
		elements, several := value.([]any)
		if !several {
			elements = []any{value}
		}
		for _, e := range elements {
			if _, err := single(e); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := single(value)
	if err != nil {
		return err
	}
	probe := pflag.NewFlagSet("", pflag.ContinueOnError)
	serveFlags(probe)
	if err := probe.Set(flag.Name, text); err != nil {
		return fmt.Errorf("%q %w", text, cmp.Or(errors.Unwrap(err), err))
	}
	return nil
}

// single is the text of one value, which lists, names with values and nothing at all are not.
func single(value any) (string, error) {
	switch value.(type) {
	case nil, []any, map[string]any:
		return "", fmt.Errorf("want one value, not %v", value)
	}
	return fmt.Sprint(value), nil
}

func readEnviron(k *koanf.Koanf, f *pflag.FlagSet, sets map[string]string, environ func() []string) []error {
	var problems []error
	provider := env.Provider(delim, env.Opt{Prefix: envPrefix, EnvironFunc: environ, TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		flag := f.Lookup(key)
		switch {
		case flag == nil || key == "help":
			problems = append(problems, fmt.Errorf("environment: unknown variable %s=%s; `tidemark serve --help` lists the settings", name, value))
			return "", nil
		case key == "set":
			problems = append(problems, parseSets(sets, strings.Split(value, ","), name)...)
			return "", nil
		case flag.Value.Type() == "stringSlice":
			return key, strings.Split(value, ",")
		}
		if err := fits(flag, value); err != nil {
			problems = append(problems, fmt.Errorf("environment: %s: %w", name, err))
			return "", nil
		}
		return key, value
	}})
	if err := k.Load(provider, nil); err != nil {
		problems = append(problems, fmt.Errorf("environment: %w", err))
	}
	return problems
}

func parseSets(into map[string]string, pairs []string, where string) []error {
	var problems []error
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			problems = append(problems, fmt.Errorf("%s %q: want name=value, as in log.retention.hours=24", where, p))
			continue
		}
		into[name] = value
	}
	return problems
}

func (s settings) check() []error {
	var problems []error
	if s.DataDir == "" {
		problems = append(problems, errors.New("data-dir: empty; name the directory that holds everything on disk"))
	}
	if len(s.Listen) == 0 {
		problems = append(problems, errors.New("listen: empty; at least one host:port is needed"))
	}
	if s.BrokerID < 0 {
		problems = append(problems, fmt.Errorf("broker-id %d: must be 0 or more", s.BrokerID))
	}
	problems = append(problems, s.checkQueues()...)
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, s.LogLevel) {
		problems = append(problems, fmt.Errorf("log-level %q: must be one of %s", s.LogLevel, strings.Join(levels, ", ")))
	}
	if formats := []string{"auto", "console", "json"}; !slices.Contains(formats, s.LogFormat) {
		problems = append(problems, fmt.Errorf("log-format %q: must be one of %s", s.LogFormat, strings.Join(formats, ", ")))
	}
	return problems
}

// checkQueues checks what concerns the queue service.
func (s settings) checkQueues() []error {
	var problems []error
	for _, n := range []struct {
		name        string
		value, most int
	}{{"queue-quota", s.QueueQuota, 500}, {"group-quota", s.GroupQuota, 10}, {"queue-partitions", s.QueuePartitions, 100}} {
		if n.value < 1 || n.value > n.most {
			problems = append(problems, fmt.Errorf("%s %d: must be 1 to %d", n.name, n.value, n.most))
		}
	}
	if s.HTTPListen == "" {
		return problems
	}
	if host, _, err := net.SplitHostPort(s.HTTPListen); err != nil {
		problems = append(problems, fmt.Errorf("http-listen %q: want host:port, as in 127.0.0.1:9080, or nothing for no queue service: %w", s.HTTPListen, err))
	} else if host == "" {
		problems = append(problems, fmt.Errorf("http-listen %q: want an address before the port, as in 127.0.0.1:9080 (0.0.0.0 for all of them)", s.HTTPListen))
	}
	if u, err := url.Parse(s.HTTPURL); s.HTTPURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		problems = append(problems, fmt.Errorf("http-url %q: want the URL that clients use, as in https://queues.example.com", s.HTTPURL))
	}
	return problems
}

// osEnviron is the process environment, passed on so that tests can bring their own.
func osEnviron() []string { return os.Environ() }
