package prober_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// spoiled answers every request with a body that makes its reader panic, as a defect
// of a parser would.
type spoiled struct{ bodies chan struct{} }

func (s spoiled) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: spoiledBody(s), Request: r, ContentLength: -1}, nil
}

type spoiledBody struct{ bodies chan struct{} }

func (b spoiledBody) Read([]byte) (int, error) {
	select {
	case b.bodies <- struct{}{}:
	default:
	}
	panic("index out of range in what evil.example.com sent")
}
func (spoiledBody) Close() error { return nil }

var _ io.ReadCloser = spoiledBody{}

// TestPanic holds that an answer which makes its reader panic is a failed probe, and
// ends neither the manager nor the probes that follow. Of checksums it is no outcome:
// a defect of the operator must not quarantine an instance.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := spoiled{make(chan struct{}, 1)}
	p := prober.New(time.Now, &http.Client{Transport: s})
	to := hostile()
	p.Set(proxy, to)
	p.RequestChecks(proxy, map[string]prober.Check{"i0": {Since: time.Now()}})
	for range 2 { // and the next round is made
		p.Round(t.Context(), proxy)
	}
	o := p.Observe(proxy)
	for kind, want := range map[failover.Kind]failover.Outcome{
		failover.Ready: failover.Failed, failover.Protocol: failover.Failed, failover.Checksum: failover.Unknown, failover.Disk: failover.Unknown,
		failover.ChecksumDatabase: failover.Unknown,
	} {
		got := o.Instances["i0"].Streaks[kind]
		if got.Outcome != want || want == failover.Failed && (got.Count != 2 || !strings.Contains(got.Message, "defect")) || strings.Contains(got.Message, "evil") {
			t.Errorf("%s: %+v, want %v", kind, got, want)
		}
	}
	if held, shares := p.Held(); held != 0 || shares != 0 {
		t.Errorf("%d bytes of the budget are held, for %d namespaces", held, shares)
	}
}

// TestPanicInTheBackground holds the same of the goroutines that the manager starts,
// which nothing else recovers.
func TestPanicInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := spoiled{make(chan struct{}, 1)}
		p := prober.New(time.Now, &http.Client{Transport: s})
		p.Set(proxy, hostile())
		go func() { _ = p.Start(t.Context()) }()
		for range 3 { // rounds
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			select {
			case <-s.bodies:
			default:
				t.Fatal("no probe was made")
			}
		}
		if got := p.Observe(proxy).Instances["i0"].Streaks[failover.Ready]; got.Outcome != failover.Failed || got.Count < 3 {
			t.Errorf("the probes ended: %+v", got)
		}
	})
}

// hostile is an instance of which all is asked.
func hostile() prober.Targets {
	return prober.Targets{
		Instances: []prober.Target{{
			Name: "i0", URL: "http://i0.test", Pages: "http://i0.test:9104", Agent: "http://i0.test:9103", Layout: "goproxy", Ready: probe.OwnPage, Interval: time.Hour, Timeout: 10 * time.Second,
			References: []probe.ReferenceModule{{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: "h1:x"}},
			Thresholds: failover.Thresholds{Failure: 3, Success: 2}, SupportsStoredOnly: true, DiskLimit: 90,
			Kinds: []failover.Kind{failover.Ready, failover.Protocol, failover.Checksum, failover.Disk, failover.Consistency},
		}},
		Database: prober.DatabaseTarget{Probed: true, Interval: time.Hour, Timeout: 10 * time.Second},
	}
}
