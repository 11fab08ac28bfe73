package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/redact"
)

// Environment holds the settings of the go command that decide where modules
// come from and how they are checked. They have the meaning of "go help
// environment".
type Environment struct {
	GOPROXY   string
	GONOPROXY string
	GOPRIVATE string
	GOSUMDB   string
	GONOSUMDB string
}

// environmentNames are the variables of an Environment, in its order.
var environmentNames = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB"}

func (e *Environment) field(name string) *string {
	return map[string]*string{
		"GOPROXY": &e.GOPROXY, "GONOPROXY": &e.GONOPROXY, "GOPRIVATE": &e.GOPRIVATE,
		"GOSUMDB": &e.GOSUMDB, "GONOSUMDB": &e.GONOSUMDB,
	}[name]
}

// ToolchainEnvironment finds the settings that a go command would have here.
// With a go command in PATH it is asked, and its answer includes the process
// environment. Without one, the process environment is completed from the
// toolchain's defaults file ($GOROOT/go.env in a Go distribution) if
// defaultsFile names one. A setting without a value stays empty.
func ToolchainEnvironment(ctx context.Context, getenv func(string) string, defaultsFile string) (Environment, error) {
	if gobin, err := exec.LookPath("go"); err == nil {
		return askGo(ctx, gobin)
	}
	var env Environment
	defaults, err := readDefaults(defaultsFile)
	if err != nil {
		return Environment{}, err
	}
	for _, name := range environmentNames {
		value := getenv(name)
		if value == "" {
			value = defaults[name]
		}
		*env.field(name) = value
	}
	return env, nil
}

func askGo(ctx context.Context, gobin string) (Environment, error) {
	//nolint:gosec // the go command that the operator of this process names
	cmd := exec.CommandContext(ctx, gobin, append([]string{"env", "-json"}, environmentNames...)...)
	out, err := cmd.Output()
	if err != nil {
		return Environment{}, fmt.Errorf("ask the go command for its environment: %w", err)
	}
	var env Environment
	if err := json.Unmarshal(out, &env); err != nil {
		return Environment{}, fmt.Errorf("read the answer of go env: %w", err)
	}
	return env, nil
}

// readDefaults reads NAME=value lines; lines starting with # are comments.
func readDefaults(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Clean(file))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the toolchain's defaults: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			values[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the toolchain's defaults: %w", err)
	}
	return values, nil
}

// SumDBName is the name of the checksum database, empty when it is off or
// unknown.
func (e Environment) SumDBName() string { return probe.ParseDatabase(e.GOSUMDB).Name }

// direct are the patterns of modules that are not fetched from a proxy.
func (e Environment) direct() string {
	if e.GONOPROXY != "" {
		return e.GONOPROXY
	}
	return e.GOPRIVATE
}

// private reports whether the checksum database must not learn of a module path.
func (e Environment) private(path string) bool {
	patterns := e.GONOSUMDB
	if patterns == "" {
		patterns = e.GOPRIVATE
	}
	return module.MatchPrefixPatterns(patterns, path)
}

// WithoutDirect removes "direct" and everything after it from GOPROXY, since
// a direct fetch runs the go command and version control programs on what a
// stranger's server sends, and modules that GONOPROXY sends there are left to
// the clients. It fails when no proxy remains.
func (e Environment) WithoutDirect() (Environment, error) {
	if e.GOPROXY == "off" {
		return e, nil // serves what the store holds
	}
	if len(e.proxies()) == 0 {
		return Environment{}, fmt.Errorf("GOPROXY=%q names no proxy, and this instance does not fetch directly: "+
			"name an upstream proxy", redact.List(e.GOPROXY))
	}
	if i := strings.Index(","+strings.ReplaceAll(e.GOPROXY, "|", ",")+",", ",direct,"); i >= 0 {
		e.GOPROXY = strings.TrimRight(e.GOPROXY[:i], ",|")
	}
	return e, nil
}

// proxies lists the URLs in GOPROXY before the first "direct" or "off".
func (e Environment) proxies() []string {
	var urls []string
	for entry := range strings.FieldsFuncSeq(e.GOPROXY, func(r rune) bool { return r == ',' || r == '|' }) {
		entry = strings.TrimSpace(entry)
		if entry == "direct" || entry == "off" {
			break
		}
		if entry != "" {
			urls = append(urls, entry)
		}
	}
	return urls
}

// upstreamEntry is one entry of GOPROXY before the first "direct".
type upstreamEntry struct {
	url string // or "off"
	// fallThrough is set if the next entry is asked after any error, and not only
	// after an answer that there is no such file.
	fallThrough bool
	base        *url.URL
}

// list reads GOPROXY.
func (e Environment) list() []upstreamEntry {
	var entries []upstreamEntry
	for rest := e.GOPROXY; rest != ""; {
		entry := upstreamEntry{url: rest}
		if i := strings.IndexAny(rest, ",|"); i >= 0 {
			entry.url, entry.fallThrough, rest = rest[:i], rest[i] == '|', rest[i+1:]
		} else {
			rest = ""
		}
		switch entry.url = strings.TrimSpace(entry.url); entry.url {
		case "direct":
			return entries
		case "off":
			return append(entries, entry)
		case "":
		default:
			entries = append(entries, entry)
		}
	}
	return entries
}
