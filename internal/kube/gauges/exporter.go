package gauges

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Exporter serves the metrics of a manager: those of a registry, and the gauges of
// objects. These are not in a registry, which holds all of its series until the last one is
// written: of 50,000 snapshots more than 100 MiB.
type Exporter struct {
	of atomic.Pointer[source]
}

// source is what the gauges of objects are read from.
type source struct {
	objects Objects
	elected <-chan struct{}
	parts   []Part
}

// Export has the parts exported, from what is given, once elected is closed.
func (e *Exporter) Export(objects Objects, elected <-chan struct{}, parts ...Part) {
	e.of.Store(&source{objects, elected, parts})
}

// ExportManager has the parts exported from the cache of a manager while that leads.
func (e *Exporter) ExportManager(mgr ctrl.Manager, parts ...Part) {
	e.Export(cached{mgr.GetCache(), mgr.GetScheme()}, mgr.Elected(), parts...)
}

// format is the only one that is served: of another, all series of a metric would be one
// message.
var format = expfmt.NewFormat(expfmt.TypeTextPlain)

// Handler serves the metrics, or those with the names in the parameter "name[]" alone.
func (e *Exporter) Handler(registry prometheus.Gatherer) http.Handler {
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		families, err := registry.Gather()
		if err != nil {
			http.Error(w, "gather the metrics: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(format))
		if err := e.write(r, w, families); err != nil {
			if r.Context().Err() == nil {
				ctrl.Log.WithName("metrics").Error(err, "A scrape was broken off")
			}
			panic(http.ErrAbortHandler) // or what was sent would be taken for all
		}
	}))
}

// write sends what the request is for, of some families and of the gauges of objects.
func (e *Exporter) write(r *http.Request, w io.Writer, families []*dto.MetricFamily) error {
	names := r.URL.Query()["name[]"]
	selected := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	to := bufio.NewWriterSize(w, 64<<10)
	encoder := expfmt.NewEncoder(to, format)
	for _, family := range families {
		if !selected(family.GetName()) {
			continue
		}
		if err := encoder.Encode(family); err != nil {
			return fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	if of := e.of.Load(); of != nil && of.leads() {
		if err := collect(r.Context(), of.objects, of.parts, selected).encode(to); err != nil {
			return err
		}
	}
	if err := to.Flush(); err != nil {
		return fmt.Errorf("send the metrics: %w", err)
	}
	return nil
}

func (s *source) leads() bool {
	select {
	case <-s.elected:
		return true
	default:
		return false
	}
}
