package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"
)

// Action is a request to a component.
type Action string

// The actions.
const (
	// Stop ends a component and leaves it ended.
	Stop Action = "stop"
	// Start starts a stopped component.
	Start Action = "start"
	// Restart ends a component, which is then started again.
	Restart Action = "restart"
)

const controlTimeout = 10 * time.Second

// serveControl answers GET /components and POST /components/NAME/ACTION.
func serveControl(ctx context.Context, socket string, workers map[string]*worker, order []*worker) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /components", func(w http.ResponseWriter, _ *http.Request) {
		all := make([]Status, 0, len(order))
		for _, worker := range order {
			all = append(all, worker.get())
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(all); err != nil {
			fmt.Fprintln(os.Stderr, "control:", err)
		}
	})
	mux.HandleFunc("POST /components/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		worker, ok := workers[r.PathValue("name")]
		if !ok {
			http.Error(w, fmt.Sprintf("no component %q", r.PathValue("name")), http.StatusNotFound)
			return
		}
		switch Action(r.PathValue("action")) {
		case Stop:
			worker.setDesired(false)
		case Start:
			worker.setDesired(true)
		case Restart:
			worker.restart()
		default:
			http.Error(w, fmt.Sprintf("no action %q", r.PathValue("action")), http.StatusNotFound)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: controlTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	return server.Serve(listener)
}

// Control talks to the supervisor of a running cluster.
type Control struct{ http *http.Client }

// NewControl returns a client for a control socket.
func NewControl(socket string) *Control {
	return &Control{http: &http.Client{Timeout: controlTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// Components returns the status of all components.
func (c *Control) Components(ctx context.Context) ([]Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/components")
	if err != nil {
		return nil, err
	}
	var all []Status
	return all, json.Unmarshal(body, &all)
}

// Act requests an action of a component.
func (c *Control) Act(ctx context.Context, component string, action Action) error {
	_, err := c.do(ctx, http.MethodPost, "/components/"+component+"/"+string(action))
	return err
}

func (c *Control) do(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the node's supervisor: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", body)
	}
	return body, err
}
