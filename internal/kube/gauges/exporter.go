package gauges

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Exporter serves the metrics of a manager: those of a registry, and the gauges of
// objects. These are not in a registry, which holds all of its series until the last one is
// written: of 50,000 snapshots more than all else that the manager holds.
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

// Handler serves the metrics.
func (e *Exporter) Handler(registry prometheus.Gatherer) http.Handler {
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		families, err := registry.Gather()
		if err != nil {
			http.Error(w, "gather the metrics: "+err.Error(), http.StatusInternalServerError)
			return
		}
		format := expfmt.Negotiate(r.Header)
		w.Header().Set("Content-Type", string(format))
		to := bufio.NewWriterSize(w, 64<<10)
		if err := errors.Join(encodeAll(to, format, families), e.encode(r.Context(), to, format), to.Flush()); err != nil {
			panic(http.ErrAbortHandler) // or what was sent would be taken for all
		}
	}))
}

func encodeAll(w io.Writer, format expfmt.Format, families []*dto.MetricFamily) error {
	encoder := expfmt.NewEncoder(w, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	return nil
}

// encode writes the gauges of objects.
func (e *Exporter) encode(ctx context.Context, w io.Writer, format expfmt.Format) error {
	of := e.of.Load()
	if of == nil || !of.leads() {
		return nil
	}
	return collect(ctx, of.objects, of.parts).encode(w, format)
}

func (s *source) leads() bool {
	select {
	case <-s.elected:
		return true
	default:
		return false
	}
}
