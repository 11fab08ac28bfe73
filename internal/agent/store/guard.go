package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Marker lies beside the store, in the root of the volume. It distinguishes the
// mounted volume from the empty directory under its mount point, and from
// another volume.
const Marker = ".gocache-volume"

const (
	// guardInterval is how often the store is looked at.
	guardInterval = 500 * time.Millisecond
	// serverInterval is how often the server is asked while it answers: it may log each
	// request. While it does not, it is asked at each look.
	serverInterval = 2 * time.Second
	// serverTimeout is how long the server may take to answer anything at all.
	serverTimeout = time.Second
	// stale is when a look has not ended for so long that the store hangs.
	stale = 3 * time.Second
)

// guard checks whether a store and its server can be used, because a server may
// report "ready" when they cannot. It checks periodically and answers with the
// last result, so that a file system that hangs blocks no request.
type guard struct {
	store, server string
	minFree       int64
	clock         func() time.Time
	http          *http.Client
	id            string
	answered      time.Time // when the server was asked last, and answered
	usage         *usage
	last          atomic.Pointer[look]
}

type look struct {
	at      time.Time
	problem string
}

// prepare makes the store's directory, which some servers need to exist when
// they start, and the volume's marker.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o775); err != nil { //nolint:gosec // shared by the volume's group
		return fmt.Errorf("make the store: %w", err)
	}
	f, err := os.OpenFile(markerOf(dir), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o664) //nolint:gosec // shared by the volume's group
	if errors.Is(err, fs.ErrExist) {
		if id, err := readMarker(dir); err != nil || id != "" {
			return err
		}
		// A process died before it had written an id: without one, the volume could
		// not be distinguished from the directory under its mount point.
		f, err = os.OpenFile(markerOf(dir), os.O_WRONLY, 0) //nolint:gosec // as above
	}
	if err != nil {
		return fmt.Errorf("mark the volume: %w", err)
	}
	_, err = f.WriteString(rand.Text() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("mark the volume: %w", err)
	}
	return nil
}

func markerOf(store string) string { return filepath.Join(filepath.Dir(filepath.Clean(store)), Marker) }

func readMarker(store string) (string, error) {
	text, err := os.ReadFile(markerOf(store)) //nolint:gosec // the flag names the store
	return strings.TrimSpace(string(text)), err
}

func newGuard(o Options) (*guard, error) {
	id, err := readMarker(o.Store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the volume's marker: %w", err)
	}
	return &guard{
		store: o.Store, server: o.Server, minFree: o.MinFree, clock: o.Clock, id: id,
		http: &http.Client{Timeout: serverTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

// run looks until ctx ends.
func (g *guard) run(ctx context.Context) {
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	for {
		problem := ""
		if err := g.look(ctx); err != nil {
			problem = err.Error()
		}
		g.last.Store(&look{g.clock(), problem})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look finds the first thing that is wrong.
func (g *guard) look(ctx context.Context) error {
	id, err := readMarker(g.store)
	switch {
	case errors.Is(err, fs.ErrNotExist) && g.id != "":
		return fmt.Errorf("the marker %s is gone: the volume is not mounted, or was emptied", markerOf(g.store))
	case err != nil && g.id != "":
		return fmt.Errorf("read the volume's marker: %w", err)
	case id != g.id:
		return fmt.Errorf("the marker %s is another one: the volume was replaced under the server", markerOf(g.store))
	}
	if info, err := os.Stat(g.store); err != nil || !info.IsDir() {
		return fmt.Errorf("the store %s is gone: %w", g.store, errors.Join(err, fs.ErrNotExist))
	}
	space, err := g.usage.space()
	if err != nil {
		return err
	}
	if space.Available < g.minFree {
		return fmt.Errorf("the store's volume has %d bytes left, fewer than %d: a module that is fetched now could be truncated", space.Available, g.minFree)
	}
	if free := space.Inodes - space.InodesUsed; space.Inodes > 0 && free < minInodes {
		return fmt.Errorf("the file system of the store's volume has %d of %d inodes left, fewer than %d: no files can be added soon, whatever space is left; clean up the store, or use a StorageClass whose file systems have more inodes", free, space.Inodes, minInodes)
	}
	return g.alive(ctx)
}

// minInodes are left for the files of a module that is fetched, of each request.
const minInodes = 64

// alive asks the server for anything: every answer but a failure is one.
func (g *guard) alive(ctx context.Context) error {
	now := g.clock()
	if since := now.Sub(g.answered); g.server == "" || since >= 0 && since < serverInterval {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.server, nil)
	if err != nil {
		return err
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	g.answered = now
	return nil
}

// ready serves what the last look found.
func (g *guard) ready(w http.ResponseWriter, _ *http.Request) {
	l := g.last.Load()
	switch {
	case l == nil:
		http.Error(w, "not ready: not looked at yet", http.StatusServiceUnavailable)
	case g.clock().Sub(l.at) > stale:
		http.Error(w, fmt.Sprintf("not ready: the store has not answered for %s", g.clock().Sub(l.at).Round(time.Second)), http.StatusServiceUnavailable)
	case l.problem != "":
		http.Error(w, "not ready: "+l.problem, http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "ok\n") // the client may be gone
	}
}
