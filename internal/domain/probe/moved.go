package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

const (
	// MovedMetric of gocache-proxy is how many versions [MovedPath] has.
	MovedMetric = "gocache_proxy_moved_versions"
	// MovedPath is the page of gocache-proxy with the versions that were moved.
	MovedPath = "/moved"
	// MaxMoved is how many versions it has at most.
	MaxMoved = 16
	// maxMovedPage bounds the page, in bytes.
	maxMovedPage = 64 << 10
)

// MovedVersion is a version whose tag names another commit than when it was stored.
type MovedVersion struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	// Stored is the commit that is served, which was seen first, and Moved the one
	// that the tag named last.
	Stored string `json:"stored"`
	Moved  string `json:"moved"`
	// Noticed is when the server saw the tag name that commit first, in whole seconds.
	Noticed time.Time `json:"noticed"`
}

var isCommit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Moved asks our own server which versions of private modules were moved after they
// were stored. An earlier version of it, or one without private modules, has none.
func (t Target) Moved(ctx context.Context) (found []MovedVersion, err error) {
	page, err := t.metrics(ctx, t.Pages)
	if err != nil {
		return nil, err
	}
	if count, err := page.named(MovedMetric); err != nil || count[0].GetGauge().GetValue() <= 0 {
		return nil, nil // a server without this metric
	}
	url := strings.TrimSuffix(t.Pages, "/") + MovedPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, unusable(url)
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %s", redact.URL(url), untrusted.Cause(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", redact.URL(url), resp.StatusCode)
	}
	var all []MovedVersion
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxMovedPage)).Decode(&all); err != nil {
		return nil, fmt.Errorf("GET %s: the page is not a list of versions", redact.URL(url))
	}
	for _, v := range all[max(len(all)-MaxMoved, 0):] {
		if v.valid() {
			v.Noticed = v.Noticed.UTC().Truncate(time.Second) // equal to that of the next answer, whatever the offset
			found = append(found, v)
		}
	}
	return found, nil
}

// valid reports whether these are a version, two commits and a time.
func (v MovedVersion) valid() bool {
	return module.Check(v.Module, v.Version) == nil && v.Version == module.CanonicalVersion(v.Version) &&
		isCommit.MatchString(v.Stored) && isCommit.MatchString(v.Moved) && v.Stored != v.Moved && !v.Noticed.IsZero()
}
