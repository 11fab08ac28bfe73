package haproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/certificate"
)

const maxReport = 64 << 10

// Certificates asks all replicas, also those that wait for a certificate, what
// became of the Secret.
func (r *Router) Certificates(ctx context.Context) ([]route.Certificate, error) {
	replicas, err := r.Starting(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]route.Certificate, len(replicas))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, replica := range replicas {
		group.Go(func() error {
			all[i].Replica = replica.Name
			err := readAnswer(ctx, replica, func() error { return report(ctx, r.http(), replica.Certificate, &all[i].Report) })
			if err != nil {
				all[i].Unreachable = err.Error()
			}
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return all, nil
}

// report reads a page that answers 503 as long as there is no certificate.
func report(ctx context.Context, client *http.Client, url string, into *certificate.Report) error {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for the certificate: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask for the certificate: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read only
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("ask for the certificate: GET %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReport)).Decode(into); err != nil {
		return fmt.Errorf("ask for the certificate: GET %s: %w", url, err)
	}
	return nil
}
