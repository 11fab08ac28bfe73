package haproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

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
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	all := make([]route.Certificate, len(replicas))
	var group sync.WaitGroup
	for i, replica := range replicas {
		group.Go(func() {
			all[i].Replica = replica.Name
			err := readAnswer(ctx, replica, func() error { return report(ctx, r.http(), replica.Certificate, &all[i].Report) })
			if err != nil {
				all[i].Unreachable = err.Error()
			}
		})
	}
	group.Wait()
	return all, nil
}

// report reads a page that answers 503 as long as there is no certificate.
func report(ctx context.Context, client *http.Client, url string, into *certificate.Report) error {
	resp, err := get(ctx, client, url, http.StatusOK, http.StatusServiceUnavailable)
	if err != nil {
		return fmt.Errorf("ask for the certificate: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read only
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReport)).Decode(into); err != nil {
		return fmt.Errorf("ask for the certificate: GET %s: %w", url, err)
	}
	return nil
}
