package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/probe"
)

const (
	// movedInterval is how often the tags of a module are compared at most.
	movedInterval = 10 * time.Minute
	// emptyInterval is the same for a module of which the store had no tag then, as at its
	// first request: nothing was asked of its host.
	emptyInterval = time.Minute
	// maxCompared versions of a module are compared, the newest of its list, and
	// maxFollowed modules are remembered.
	maxCompared, maxFollowed = 2000, 4096
	// maxTags bounds the tags of a repository, in bytes: some 200,000.
	maxTags = 16 << 20
	// maxComparisons are made at once, each of another host, so that one that does not
	// answer delays its own modules alone. Version control runs twice as many commands.
	maxComparisons = 4
	// comparisonTimeout bounds one: a host that does not answer has its place no longer.
	comparisonTimeout = time.Minute
)

// movedTags finds private versions whose tag names another commit than the one that
// the store has. The store keeps what was seen first; this reports it, until the tag
// names that commit again. A module is looked at while clients ask for its versions, and
// never delays them.
type movedTags struct {
	fetcher *fetcher
	timeout time.Duration
	now     func() time.Time
	log     logr.Logger

	mu       sync.Mutex
	looking  map[string]bool      // the hosts whose tags are being compared
	compared map[string]time.Time // by module path
	found    []probe.MovedVersion // the newest last
}

// consider compares the tags of a module in the background, if it is private and was
// not compared for a while.
func (m *movedTags) consider(ctx context.Context, t target) {
	if !t.mutable && t.kind != modcache.Info || !m.fetcher.versionControl.serves(t.module.Path) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, host := m.now(), hostOf(t.module.Path)
	if m.looking[host] || len(m.looking) >= maxComparisons || now.Sub(m.compared[t.module.Path]) < movedInterval {
		return
	}
	if m.compared == nil || len(m.compared) >= maxFollowed {
		m.compared = map[string]time.Time{}
	}
	if m.looking == nil {
		m.looking = map[string]bool{}
	}
	m.looking[host], m.compared[t.module.Path] = true, now
	go m.compare(context.WithoutCancel(ctx), t.module.Path) // the client is not waited for
}

// hostOf is the host that a module's path names. Its repository may be on another one.
func hostOf(modulePath string) string {
	host, _, _ := strings.Cut(modulePath, "/")
	return host
}

// versions that were moved, the newest last.
func (m *movedTags) versions() []probe.MovedVersion {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.found)
}

// origin is where a version comes from, as its .info has it.
type origin struct {
	Origin struct{ VCS, Ref, Hash string }
}

// compare looks at the tags of one module.
func (m *movedTags) compare(ctx context.Context, modulePath string) {
	defer func() {
		m.mu.Lock()
		delete(m.looking, hostOf(modulePath))
		m.mu.Unlock()
	}()
	stored := m.stored(modulePath)
	if len(stored) == 0 {
		m.again(modulePath)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	now := map[string]string{} // commits by the refs of stored versions
	refs := map[string]bool{}
	for _, o := range stored {
		refs[o.Origin.Ref] = true
	}
	escaped, err := module.EscapePath(modulePath)
	if err == nil {
		err = m.fetcher.versionControl.walk(ctx, escaped+"/@tags", func(resp *http.Response) error {
			clear(now)
			return readTags(io.LimitReader(resp.Body, maxTags), refs, now)
		})
	}
	if err != nil {
		m.log.Info("The tags of a private module cannot be compared with what is stored", "module", modulePath, "error", err.Error())
		return
	}
	for version, o := range stored {
		switch commit := now[o.Origin.Ref]; commit {
		case "": // removed: the last that is known of it stays
		case o.Origin.Hash:
			m.forget(modulePath, version)
		default:
			m.report(probe.MovedVersion{Module: modulePath, Version: version, Stored: o.Origin.Hash, Moved: commit, Noticed: m.now().UTC().Truncate(time.Second)})
		}
	}
}

// again has a module compared sooner that was not compared.
func (m *movedTags) again(modulePath string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compared[modulePath] = m.compared[modulePath].Add(emptyInterval - movedInterval)
}

// report records a version, once for each commit that it was moved to.
func (m *movedTags) report(v probe.MovedVersion) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.found, func(f probe.MovedVersion) bool { return f.Module == v.Module && f.Version == v.Version })
	if i >= 0 {
		if f := m.found[i]; f.Stored == v.Stored && f.Moved == v.Moved {
			return
		}
		m.found = slices.Delete(m.found, i, i+1)
	}
	m.found = append(m.found, v)
	m.found = m.found[max(len(m.found)-probe.MaxMoved, 0):]
	m.log.Info("A tag was moved; the version that was seen first is served", "module", v.Module, "version", v.Version, "stored", v.Stored, "moved", v.Moved)
}

// forget drops a version whose tag names the commit again that is stored.
func (m *movedTags) forget(modulePath, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.found)
	m.found = slices.DeleteFunc(m.found, func(f probe.MovedVersion) bool { return f.Module == modulePath && f.Version == version })
	if len(m.found) < n {
		m.log.Info("A tag was moved back to the commit that is served", "module", modulePath, "version", version)
	}
}

// stored are the origins of the versions of a module that are tags, as the store has
// them.
func (m *movedTags) stored(modulePath string) map[string]origin {
	escaped, err := module.EscapePath(modulePath)
	if err != nil {
		return nil
	}
	list := strings.Fields(string(m.fetcher.known(target{name: escaped + "/@v/list"})))
	stored := map[string]origin{}
	for _, version := range list[max(len(list)-maxCompared, 0):] {
		name, err := module.EscapeVersion(version)
		if err != nil {
			continue
		}
		var o origin
		text := m.fetcher.known(target{name: escaped + "/@v/" + name + ".info"})
		if text == nil || json.Unmarshal(text, &o) != nil || o.Origin.VCS != "git" || o.Origin.Hash == "" || !strings.HasPrefix(o.Origin.Ref, "refs/tags/") {
			continue
		}
		stored[version] = o
	}
	return stored
}

// readTags reads lines with a commit and a ref, of some refs.
func readTags(text io.Reader, refs map[string]bool, into map[string]string) error {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		if commit, ref, ok := strings.Cut(lines.Text(), " "); ok && refs[ref] {
			into[ref] = commit
		}
	}
	return lines.Err()
}

// serveMoved is the page for the operator.
func (m *movedTags) serveMoved(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(m.versions()) // the client may be gone
}
