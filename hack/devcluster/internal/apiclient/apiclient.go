// Package apiclient asks an API server the few things that starting a cluster
// depends on. It is not client-go, which takes longer to build than everything
// else here together.
package apiclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// Client is an administrator of one cluster.
type Client struct {
	server string
	http   *http.Client
}

const requestTimeout = 5 * time.Second

// New reads the administrator's credentials.
func New(spec cluster.Spec) (*Client, error) {
	paths := spec.Paths()
	ca, err := os.ReadFile(paths.Certificate("ca"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(paths.Certificate("admin"), paths.Key("admin"))
	if err != nil {
		return nil, err
	}
	return &Client{server: spec.Server(), http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
			Proxy:           nil, // never through the machine's HTTP proxy
		},
	}}, nil
}

// Get reads a path; with a non-nil into it parses the JSON it gets.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.200s", path, resp.Status, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// Ready returns why the API server cannot be used yet, or nil.
func (c *Client) Ready(ctx context.Context) error { return c.Get(ctx, "/readyz", nil) }

// Node returns why pods cannot run on the node yet, or nil.
func (c *Client) Node(ctx context.Context, name string) error {
	var node struct {
		Status struct{ Conditions []condition }
	}
	if err := c.Get(ctx, "/api/v1/nodes/"+name, &node); err != nil {
		return err
	}
	return ready(node.Status.Conditions, "Ready", "node "+name)
}

// Deployment returns why a Deployment is not available, or nil.
func (c *Client) Deployment(ctx context.Context, namespace, name string) error {
	var d struct {
		Status struct{ Conditions []condition }
	}
	if err := c.Get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+name, &d); err != nil {
		return err
	}
	return ready(d.Status.Conditions, "Available", "deployment "+name)
}

// DaemonSet returns why a DaemonSet is not ready on so many nodes, or nil.
func (c *Client) DaemonSet(ctx context.Context, namespace, name string, nodes int) error {
	var d struct{ Status struct{ NumberReady int } }
	if err := c.Get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/daemonsets/"+name, &d); err != nil {
		return err
	}
	if d.Status.NumberReady < nodes {
		return fmt.Errorf("daemonset %s is ready on %d of %d nodes", name, d.Status.NumberReady, nodes)
	}
	return nil
}

// Driver returns why a CSI driver is not registered on a node, or nil.
func (c *Client) Driver(ctx context.Context, node, driver string) error {
	var n struct {
		Spec struct{ Drivers []struct{ Name string } }
	}
	if err := c.Get(ctx, "/apis/storage.k8s.io/v1/csinodes/"+node, &n); err != nil {
		return err
	}
	for _, d := range n.Spec.Drivers {
		if d.Name == driver {
			return nil
		}
	}
	return fmt.Errorf("CSI driver %s is not registered on node %s", driver, node)
}

// Snapshots returns which of the VolumeSnapshot kinds is not served yet, or nil.
func (c *Client) Snapshots(ctx context.Context) error {
	var list struct{ Resources []struct{ Name string } }
	if err := c.Get(ctx, "/apis/snapshot.storage.k8s.io/v1", &list); err != nil {
		return err
	}
	served := map[string]bool{}
	for _, r := range list.Resources {
		served[r.Name] = true
	}
	for _, name := range []string{"volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"} {
		if !served[name] {
			return fmt.Errorf("%s are not served yet", name)
		}
	}
	return nil
}

type condition struct{ Type, Status, Message string }

func ready(conditions []condition, kind, what string) error {
	for _, c := range conditions {
		if c.Type != kind {
			continue
		}
		if c.Status == "True" {
			return nil
		}
		return fmt.Errorf("%s is not %s: %s", what, kind, c.Message)
	}
	return fmt.Errorf("%s has no condition %s yet", what, kind)
}

// pollInterval is short: a cluster starts in seconds.
const pollInterval = 50 * time.Millisecond

// Final makes Wait give up at once.
func Final(err error) error { return finalError{err} }

type finalError struct{ error }

func (f finalError) Unwrap() error { return f.error }

// Wait repeats a check until it passes, or fails with its last reason.
func Wait(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if final := new(finalError); errors.As(err, final) {
			return final.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pollInterval):
		}
	}
}
