package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/image"
)

// containerd is the image store of a running node.
type containerd struct{ ctr, socket string }

func newContainerd(record cluster.Record, n cluster.Node) containerd {
	return containerd{ctr: filepath.Join(record.BinDir, "ctr"), socket: n.Paths().ContainerdSocket()}
}

func (c containerd) run(ctx context.Context, args ...string) ([]byte, error) {
	// Kubernetes sees only the images of this namespace.
	args = append([]string{"--address", c.socket, "--namespace", "k8s.io"}, args...)
	out, err := exec.CommandContext(ctx, c.ctr, args...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return out, nil
}

func (c containerd) ready(ctx context.Context) error {
	_, err := c.run(ctx, "version")
	return err
}

// load imports an archive unless the very same image is there already. Pods find
// the image by its name and by its digest, as the manifests of a release name it.
func (c containerd) load(ctx context.Context, archive string) (skipped bool, err error) {
	info, err := image.Inspect(archive)
	if err != nil && !errors.Is(err, image.ErrNoIndex) {
		return false, err
	}
	if err == nil {
		present, err := c.images(ctx)
		if err != nil {
			return false, err
		}
		if present[info.Ref] == info.Digest && present[byDigest(info)] == info.Digest {
			return true, nil
		}
	}
	if _, err := c.run(ctx, "images", "import", "--all-platforms", archive); err != nil || info.Ref == "" {
		return false, err
	}
	_, err = c.run(ctx, "images", "tag", "--force", info.Ref, byDigest(info))
	return false, err
}

// byDigest names an image by its repository and digest.
func byDigest(info image.Info) string {
	name := info.Ref
	// A colon before the last slash is that of a port.
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name + "@" + info.Digest
}

// images returns the digest of each image by its name.
func (c containerd) images(ctx context.Context) (map[string]string, error) {
	out, err := c.run(ctx, "images", "list")
	if err != nil {
		return nil, err
	}
	return parseImages(out), nil
}

// parseImages reads a table whose first three columns are REF, TYPE, DIGEST.
func parseImages(table []byte) map[string]string {
	images := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 3 && strings.HasPrefix(fields[2], "sha256:") {
			images[fields[0]] = fields[2]
		}
	}
	return images
}

// Loaded is the result for one archive.
type Loaded struct {
	Archive string
	// Skipped is set if the same image was there already.
	Skipped bool
}

// Load imports image archives into all nodes of the cluster.
func (m *Manager) Load(ctx context.Context, archives []string, done func(Loaded)) error {
	record, err := m.running()
	if err != nil {
		return err
	}
	for _, a := range archives {
		skipped, err := loadEverywhere(ctx, record, a)
		if err != nil {
			return err
		}
		done(Loaded{Archive: a, Skipped: skipped})
	}
	return nil
}

// loadEverywhere imports an archive into all nodes that run.
func loadEverywhere(ctx context.Context, record cluster.Record, archive string) (skipped bool, err error) {
	var loaded atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range record.AllNodes() {
		if !record.NodeInit(n).Alive() {
			continue
		}
		group.Go(func() error {
			skipped, err := newContainerd(record, n).load(ctx, archive)
			if !skipped {
				loaded.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	return !loaded.Load(), err
}
