package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics that tell how full a store's volume is: those of our own server, and
// those of the agent beside the store of another.
const (
	usedMetric      = "gocache_proxy_volume_used_bytes"
	availableMetric = "gocache_proxy_volume_available_bytes"

	StoreUsedMetric      = "gocache_store_used_bytes"
	StoreAvailableMetric = "gocache_store_available_bytes"
)

// Disk asks how full the volume of the instance's store is, in percent of what
// the store may use, and fails at limit. An instance that does not tell is
// Unknown.
func (t Target) Disk(ctx context.Context, limit int) (usedPercent int, result Result) {
	used, available, err := t.volume(ctx)
	switch {
	case err != nil:
		return 0, Result{Unknown, err.Error()}
	case used+available <= 0:
		return 0, Result{Unknown, "the instance tells no size of its volume"}
	}
	usedPercent = int(100 * used / (used + available))
	if usedPercent >= limit {
		return usedPercent, Result{Failed, fmt.Sprintf("the store's volume is %d %% full, the limit is %d %%", usedPercent, limit)}
	}
	return usedPercent, Result{Outcome: Passed}
}

func (t Target) volume(ctx context.Context) (used, available float64, err error) {
	base, usedMetric, availableMetric := t.Base, usedMetric, availableMetric
	if t.Agent != "" {
		base, usedMetric, availableMetric = t.Agent, StoreUsedMetric, StoreAvailableMetric
	}
	url := strings.TrimSuffix(base, "/") + "/metrics"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(http.MaxBytesReader(nil, resp.Body, maxMetrics))
	if err != nil {
		return 0, 0, fmt.Errorf("GET %s: %w", url, err)
	}
	for name, into := range map[string]*float64{usedMetric: &used, availableMetric: &available} {
		family := families[name]
		if family == nil || len(family.GetMetric()) == 0 {
			return 0, 0, fmt.Errorf("GET %s: no %s", url, name)
		}
		*into = family.GetMetric()[0].GetGauge().GetValue()
	}
	return used, available, nil
}

// maxMetrics bounds a page of metrics, in bytes.
const maxMetrics = 4 << 20
