package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"gocache.dev/operator/internal/router/certificate"
)

// CertificateOptions are where the router's certificate comes from.
type CertificateOptions struct {
	// Directory holds tls.crt and tls.key, mounted from a Secret; empty: the
	// router serves plain HTTP.
	Directory string
	// File is what HAProxy loads at its start: chain and key in one.
	File string
	// Socket is HAProxy's, over which a new certificate replaces the old one.
	Socket string
	// Host is the name under which the router is published.
	Host string
}

// certificates bring the pair of a mounted Secret to HAProxy.
type certificates struct {
	options CertificateOptions
	metrics *metrics
	now     func() time.Time
	log     logr.Logger

	mu     sync.Mutex
	report certificate.Report
}

// follow looks at the Secret now and every interval. The kubelet brings a
// changed Secret to its mount within about a minute.
func (c *certificates) follow(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		c.bring(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// bring makes HAProxy serve the Secret's pair, and notes what came of it.
func (c *certificates) bring(ctx context.Context) {
	report := c.install(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if report != c.report {
		c.log.Info("The certificate", "serving", report.Fingerprint, "notAfter", report.NotAfter, "problem", report.Problem, "nameMismatch", report.NameMismatch)
		c.report = report
		if !report.NotAfter.IsZero() {
			c.metrics.certificateExpiry.Set(float64(report.NotAfter.Unix()))
		}
	}
}

// install lays the pair where HAProxy finds it at its start, and hands it to
// the one that runs. Connections that exist go on with the certificate that
// they began with.
func (c *certificates) install(ctx context.Context) certificate.Report {
	desired, err := c.desired()
	current, currentErr := c.current()
	if err != nil {
		report := describe(current, c.options.Host)
		report.Problem = err.Error()
		return report
	}
	if currentErr != nil || !bytes.Equal(current.Bundle, desired.Bundle) {
		if err := replaceFile(c.options.File, desired.Bundle); err != nil {
			report := describe(current, c.options.Host)
			report.Problem = err.Error()
			return report
		}
	}
	report := describe(desired, c.options.Host)
	if err := c.hand(ctx, desired); err != nil {
		report.Problem = err.Error()
	}
	return report
}

func describe(p certificate.Pair, host string) certificate.Report {
	if p.Leaf == nil {
		return certificate.Report{}
	}
	return certificate.Report{Fingerprint: p.Fingerprint, NotAfter: p.Leaf.NotAfter, NameMismatch: p.NameMismatch(host)}
}

// desired is the Secret's pair.
func (c *certificates) desired() (certificate.Pair, error) {
	chain, err := os.ReadFile(filepath.Join(c.options.Directory, "tls.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		return certificate.Pair{}, errors.New("the Secret does not exist, or has no tls.crt")
	}
	if err != nil {
		return certificate.Pair{}, fmt.Errorf("read the mounted Secret: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(c.options.Directory, "tls.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return certificate.Pair{}, errors.New("the Secret has no tls.key")
	}
	if err != nil {
		return certificate.Pair{}, fmt.Errorf("read the mounted Secret: %w", err)
	}
	return certificate.Parse(chain, key, c.now())
}

// current is the pair that HAProxy was given last. It is returned even when it
// has expired, together with an error.
func (c *certificates) current() (certificate.Pair, error) {
	bundle, err := os.ReadFile(c.options.File)
	if err != nil {
		return certificate.Pair{}, err
	}
	return certificate.Parse(bundle, bundle, c.now())
}

func replaceFile(file string, content []byte) error {
	temporary := file + ".new"
	if err := os.WriteFile(temporary, content, 0o640); err != nil { //nolint:gosec // HAProxy may run as another user of the pod's group
		return fmt.Errorf("write %s for HAProxy: %w", filepath.Base(file), err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("write %s for HAProxy: %w", filepath.Base(file), err)
	}
	return nil
}

// hand replaces the certificate in a running HAProxy, if it serves another.
func (c *certificates) hand(ctx context.Context, p certificate.Pair) error {
	if _, err := os.Stat(c.options.Socket); errors.Is(err, fs.ErrNotExist) {
		return nil // it has not started, and will read the file
	}
	s := socket{path: c.options.Socket, now: c.now}
	shown, err := s.command(ctx, "show ssl cert "+c.options.File, "SHA1 FingerPrint: ")
	if refused := (*net.OpError)(nil); errors.As(err, &refused) {
		return nil // it does not run now, and will read the file
	}
	if err != nil {
		return err
	}
	if strings.Contains(shown, p.Fingerprint) {
		return nil
	}
	// An empty line ends the certificate.
	if _, err := s.command(ctx, "set ssl cert "+c.options.File+" <<\n"+string(p.Bundle)+"\n", "Transaction"); err != nil {
		return err
	}
	_, err = s.command(ctx, "commit ssl cert "+c.options.File, "Success!")
	return err
}

// page answers the report; it fails as long as there is nothing to serve.
func (c *certificates) page(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	report := c.report
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if report.Fingerprint == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(report) // the client went away
}

func newCertificateExpiry() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocache_router_certificate_expiry_timestamp_seconds", Help: "When the certificate that is served expires; 0 without TLS."})
}
