package router

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	dto "github.com/prometheus/client_model/go"
)

// haproxy answers as one that reaches no instance, until there is one again.
type haproxy struct {
	back  atomic.Bool
	asked atomic.Int64
}

func (h *haproxy) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.asked.Add(1)
	if !h.back.Load() {
		http.Error(w, "no module proxy instance can serve now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set(InstanceHeader, "blue")
	_, _ = io.WriteString(w, goodMod)
}

func newOutage(t *testing.T, h http.Handler) (*answers, string) {
	t.Helper()
	a, err := newAnswers(AnswersOptions{Now: time.Now, Attempts: []string{quiet(t, h)}}, newMetrics(), testr.NewWithOptions(t, testr.Options{Verbosity: -1}))
	if err != nil {
		t.Fatal(err)
	}
	return a, quiet(t, a.handler())
}

func (a *answers) waits(t *testing.T, outcome string) float64 {
	t.Helper()
	var m dto.Metric
	if err := a.metrics.waits.WithLabelValues(outcome).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// TestWaitsForAnInstance holds that a request that meets no instance is answered
// by the one that comes back, for modules and for the checksum database.
func TestWaitsForAnInstance(t *testing.T) {
	t.Parallel()
	for _, path := range []string{modPath, lookupPath} {
		h := &haproxy{}
		a, url := newOutage(t, h)
		time.AfterFunc(300*time.Millisecond, func() { h.back.Store(true) })
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != goodMod || resp.Header.Get(absentHeader) != "" {
			t.Errorf("%s: %s, %q, %v", path, resp.Status, body, err)
		}
		if a.waits(t, "served") != 1 || a.waits(t, "failed") != 0 {
			t.Error("the wait is not counted as served")
		}
	}
}

// TestDoesNotWaitInVain holds that the error comes at once where no instance may
// come back, and after the time that one takes to.
func TestDoesNotWaitInVain(t *testing.T) {
	t.Parallel()
	h := &haproxy{}
	a, url := newOutage(t, h)
	start := time.Now()
	var later atomic.Int64
	a.outage.now = func() time.Time { return start.Add(time.Duration(later.Load())) }
	status := func() int {
		resp, err := http.Get(url + modPath)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	var quarantined atomic.Bool
	quarantined.Store(true)
	a.outage.coming = func() bool { return !quarantined.Load() }
	if got, asked := status(), h.asked.Load(); got != http.StatusServiceUnavailable || asked != 1 {
		t.Errorf("while all are quarantined: status %d after %d requests, want the error of the first", got, asked)
	}
	quarantined.Store(false)
	time.AfterFunc(50*time.Millisecond, func() { later.Store(int64(waitFor)) })
	if got, asked := status(), h.asked.Load(); got != http.StatusServiceUnavailable || asked < 3 {
		t.Errorf("an attempt of a client: status %d after %d requests, want an error after further ones", got, asked)
	}
	later.Store(int64(outageWait))
	h.asked.Store(0)
	if got, asked := status(), h.asked.Load(); got != http.StatusServiceUnavailable || asked != 1 {
		t.Errorf("in a long outage: status %d after %d requests, want the error of the first", got, asked)
	}
	later.Store(int64(4 * outageWait)) // without a request meanwhile: it may be another one
	time.AfterFunc(50*time.Millisecond, func() { h.back.Store(true) })
	if got := status(); got != http.StatusOK {
		t.Errorf("in another outage: status %d, want 200", got)
	}
}

// TestInstancesOwnErrorsDoNotWait holds that an error that an instance gave is
// passed on at once.
func TestInstancesOwnErrorsDoNotWait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	_, url := newOutage(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set(InstanceHeader, "blue")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	recorded := httptest.NewRecorder()
	resp, err := http.Get(url + modPath)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(recorded, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || recorded.Body.String() != "busy\n" || asked.Load() != 1 {
		t.Errorf("%s, %q after %d requests", resp.Status, recorded.Body, asked.Load())
	}
}
