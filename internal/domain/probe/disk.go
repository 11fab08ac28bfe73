package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

// Metrics of the used space of a store's volume: those of gocache-proxy, and
// those of the agent beside another server.
const (
	usedMetric      = "gocache_proxy_volume_used_bytes"
	availableMetric = "gocache_proxy_volume_available_bytes"

	StoreUsedMetric      = "gocache_store_used_bytes"
	StoreAvailableMetric = "gocache_store_available_bytes"
)

// StoreFullMetric of gocache-proxy is 1 while its store has no space left.
const StoreFullMetric = "gocache_proxy_store_full"

// StoreFull asks our own server whether its store has room for what it fetches,
// which the share of the volume does not show. An earlier version has no result.
func (t Target) StoreFull(ctx context.Context) Result {
	page, err := t.metrics(ctx, t.Pages)
	if err != nil {
		return Result{Unknown, err.Error()}
	}
	full, err := page.named(StoreFullMetric)
	switch {
	case err != nil:
		return Result{Unknown, err.Error()}
	case full[0].GetGauge().GetValue() > 0:
		return Result{Failed, "the store has no room for what the instance fetches"}
	}
	return Result{Outcome: Passed}
}

// Disk asks how full the volume of the instance's store is, in percent of what
// the store may use, and fails at limit. For an instance without these metrics
// the result is Unknown.
func (t Target) Disk(ctx context.Context, limit int) (usedPercent int, result Result) {
	used, available, err := t.volume(ctx)
	switch {
	case err != nil:
		return 0, Result{Unknown, err.Error()}
	case used+available <= 0:
		return 0, Result{Unknown, "the instance has no metric of the size of its volume"}
	}
	usedPercent = int(100 * used / (used + available))
	if usedPercent >= limit {
		return usedPercent, Result{Failed, fmt.Sprintf("the store's volume is %d %% full, the limit is %d %%", usedPercent, limit)}
	}
	return usedPercent, Result{Outcome: Passed}
}

func (t Target) volume(ctx context.Context) (used, available float64, err error) {
	base, usedMetric, availableMetric := t.Pages, usedMetric, availableMetric
	if t.Agent != "" {
		base, usedMetric, availableMetric = t.Agent, StoreUsedMetric, StoreAvailableMetric
	}
	page, err := t.metrics(ctx, base)
	if err != nil {
		return 0, 0, err
	}
	for name, into := range map[string]*float64{usedMetric: &used, availableMetric: &available} {
		metrics, err := page.named(name)
		if err != nil {
			return 0, 0, err
		}
		*into = metrics[0].GetGauge().GetValue()
	}
	return used, available, nil
}

// metricsPage is what an instance, or the agent beside it, counts.
type metricsPage struct {
	url      string
	families map[string]*dto.MetricFamily
}

// name of the page in errors.
func (p metricsPage) name() string { return redact.URL(p.url) }

func (t Target) metrics(ctx context.Context, base string) (page metricsPage, err error) {
	if base == "" {
		return page, errors.New("the instance has no page of metrics")
	}
	page.url = strings.TrimSuffix(base, "/") + "/metrics"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.url, nil)
	if err != nil {
		return page, unusable(page.url)
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return page, fmt.Errorf("GET %s: %s", page.name(), untrusted.Cause(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return page, fmt.Errorf("GET %s: status %d", page.name(), resp.StatusCode)
	}
	text, err := linesOf(http.MaxBytesReader(nil, resp.Body, maxMetrics), usedMetric, availableMetric, StoreUsedMetric, StoreAvailableMetric, StoreFullMetric, MovedMetric, DatabaseMetric)
	if err != nil {
		return page, fmt.Errorf("GET %s: the page cannot be read as metrics", page.name())
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	page.families, err = parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return page, fmt.Errorf("GET %s: the page cannot be read as metrics", page.name())
	}
	return page, nil
}

// linesOf keeps the lines of a page that belong to the metrics of some names: the
// parser takes many times the memory of what it reads.
func linesOf(page io.Reader, names ...string) ([]byte, error) {
	var kept bytes.Buffer
	lines := bufio.NewScanner(page)
	lines.Buffer(make([]byte, 4<<10), maxLine)
	for lines.Scan() {
		line := bytes.TrimPrefix(lines.Bytes(), []byte("# TYPE "))
		name := line[:len(line)-len(bytes.TrimLeft(line, "abcdefghijklmnopqrstuvwxyz_"))]
		if slices.Contains(names, string(name)) && kept.Len() < maxLine {
			kept.Write(lines.Bytes())
			kept.WriteByte('\n')
		}
	}
	return kept.Bytes(), lines.Err()
}

// named are the metrics of one name; none is an error.
func (p metricsPage) named(name string) ([]*dto.Metric, error) {
	family := p.families[name]
	if family == nil || len(family.GetMetric()) == 0 {
		return nil, fmt.Errorf("GET %s: no %s", p.name(), name)
	}
	return family.GetMetric(), nil
}

const (
	// maxMetrics bounds a page of metrics, in bytes.
	maxMetrics = 4 << 20
	// maxLine bounds one line of it, and what is kept of it.
	maxLine = 64 << 10
)
