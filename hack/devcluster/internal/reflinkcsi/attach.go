package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/faults"
)

// topologyParameter of a class is where its volumes can be used: "node", "zone", or
// everywhere.
const topologyParameter = "topology"

// place returns the segments where a new volume can be used: those of the class, on the
// node or in the zone that was selected. A copy can only be where its source is.
func (d *Driver) place(req *csi.CreateVolumeRequest, from kind, id string) (map[string]string, error) {
	if !d.shared() {
		return nil, nil
	}
	key := map[string]string{"node": d.nodeKey(), "zone": d.zoneKey()}[req.GetParameters()[topologyParameter]]
	if from != "" {
		source, err := d.pool.load(from, id)
		if err != nil {
			return nil, err
		}
		if len(source.Topology) > 0 {
			if !reachable(source.Topology, req.GetAccessibilityRequirements().GetRequisite()) {
				return nil, status.Errorf(codes.ResourceExhausted, "the source is in %v, and the volume is to be elsewhere", source.Topology)
			}
			return source.Topology, nil
		}
	}
	if key == "" {
		return nil, nil
	}
	for _, t := range slices.Concat(req.GetAccessibilityRequirements().GetPreferred(), req.GetAccessibilityRequirements().GetRequisite()) {
		if segment := t.GetSegments()[key]; segment != "" {
			return map[string]string{key: segment}, nil
		}
	}
	return map[string]string{key: d.topology().GetSegments()[key]}, nil
}

// reachable reports whether one of the places is where the segments are; no places
// mean that any will do.
func reachable(segments map[string]string, places []*csi.Topology) bool {
	return len(places) == 0 || slices.ContainsFunc(places, func(t *csi.Topology) bool {
		for key, value := range segments {
			if t.GetSegments()[key] != value {
				return false
			}
		}
		return true
	})
}

// accessible is where a volume can be used, in the form of CSI.
func (d *Driver) accessible(r record) []*csi.Topology {
	switch {
	case !d.shared():
		return []*csi.Topology{d.topology()}
	case len(r.Topology) == 0:
		return nil
	}
	return []*csi.Topology{{Segments: r.Topology}}
}

// ControllerPublishVolume attaches a volume to a node. A volume for one node is
// attached to no second one, whatever has become of the first.
func (d *Driver) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	r, err := d.pool.load(volumes, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if _, err := d.faults.inject(ctx, call{op: faults.Attach, id: r.ID}); err != nil {
		return nil, err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	nodes, err := d.pool.attached(r.ID)
	if err != nil {
		return nil, err
	}
	if slices.Contains(nodes, req.GetNodeId()) {
		return &csi.ControllerPublishVolumeResponse{}, nil
	}
	if len(nodes) > 0 && !multiNode(req.GetVolumeCapability()) {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %q is attached to node %s", r.ID, strings.Join(nodes, ", "))
	}
	if len(r.Topology) > 0 && r.Topology[d.nodeKey()] != "" && r.Topology[d.nodeKey()] != req.GetNodeId() {
		return nil, status.Errorf(codes.InvalidArgument, "volume %q is on node %s", r.ID, r.Topology[d.nodeKey()])
	}
	d.log.Info("attached", "id", r.ID, "node", req.GetNodeId())
	return &csi.ControllerPublishVolumeResponse{}, d.pool.attach(r.ID, req.GetNodeId())
}

func multiNode(c *csi.VolumeCapability) bool {
	return slices.Contains([]csi.VolumeCapability_AccessMode_Mode{
		csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER,
	}, c.GetAccessMode().GetMode())
}

// ControllerUnpublishVolume detaches a volume. A node that has it mounted loses it: what
// it writes later goes nowhere, as with the disk of a cloud.
func (d *Driver) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, invalid("no volume id")
	}
	if _, err := d.faults.inject(ctx, call{op: faults.Detach, id: req.GetVolumeId()}); err != nil {
		return nil, err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	nodes, err := d.pool.attached(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if node != req.GetNodeId() && req.GetNodeId() != "" {
			continue
		}
		staged, err := d.pool.staged(req.GetVolumeId(), node)
		if err != nil {
			return nil, err
		}
		if staged && len(nodes) == 1 {
			d.log.Warn("detached from a node that has it mounted", "id", req.GetVolumeId(), "node", node)
			if err := d.fence(req.GetVolumeId()); err != nil {
				return nil, err
			}
		}
		if err := d.pool.detach(req.GetVolumeId(), node); err != nil {
			return nil, err
		}
		d.log.Info("detached", "id", req.GetVolumeId(), "node", node)
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

// fence takes an image away from the node that has it mounted: the file system fails from
// now on, and the image goes on as another file, which that mount has no part of.
func (d *Driver) fence(id string) error {
	r, err := d.pool.load(volumes, id)
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	image := d.pool.image(volumes, id)
	if err := d.loops.whileMounted(image, func() error { return nil }, shutDown); err != nil {
		return err
	}
	next := image + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := reflink(image, next, r.Bytes); err != nil {
		return err
	}
	return os.Rename(next, image)
}

// xfsGoingDown and withoutLog are of xfs_fs.h.
const (
	xfsGoingDown = 0x8004587d
	withoutLog   = 2
)

// shutDown makes a mounted file system fail, and lose what it has not written.
func shutDown(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	err = unix.IoctlSetPointerInt(int(f.Fd()), xfsGoingDown, withoutLog)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("shut down the file system at %s: %w", dir, err)
	}
	return nil
}

// Disconnect makes the volumes fail that a process has mounted below a folder.
func Disconnect(pid int, below string) error {
	root := filepath.Join("/proc", fmt.Sprint(pid))
	b, err := os.ReadFile(filepath.Join(root, "mountinfo"))
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, m := range parseMounts(string(b)) {
		if _, isLoop := loopNumber(m); !isLoop || done[m.device] || !strings.HasPrefix(m.dir, below+"/") {
			continue
		}
		done[m.device] = true
		if err := shutDown(filepath.Join(root, "root", m.dir)); err != nil {
			return err
		}
	}
	return nil
}

// A folder for each volume lists the nodes that it is attached to: one file each, which the
// controller writes, and another, with stagedSuffix, that the node itself writes while it
// has the volume mounted.
const stagedSuffix = ".staged"

func (p pool) attachment(id, node string) string {
	return filepath.Join(p.dir, string(attachments), id, node)
}

// attached returns the nodes that a volume is attached to.
func (p pool) attached(id string) ([]string, error) {
	if !idRE.MatchString(id) {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(p.dir, string(attachments), id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var nodes []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), stagedSuffix) {
			nodes = append(nodes, e.Name())
		}
	}
	return nodes, nil
}

func (p pool) attach(id, node string) error {
	if !idRE.MatchString(node) {
		return invalid("node %q", node)
	}
	return cluster.WriteFile(p.attachment(id, node), nil, 0o600)
}

func (p pool) detach(id, node string) error {
	for _, file := range []string{p.attachment(id, node) + stagedSuffix, p.attachment(id, node)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Another node's may be there.
	if err := os.Remove(filepath.Dir(p.attachment(id, node))); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stage records that a node mounts a volume that is attached to it.
func (p pool) stage(id, node string) error {
	if _, err := os.Stat(p.attachment(id, node)); errors.Is(err, fs.ErrNotExist) {
		return status.Errorf(codes.FailedPrecondition, "volume %q is not attached to node %s", id, node)
	}
	return cluster.WriteFile(p.attachment(id, node)+stagedSuffix, nil, 0o600)
}

func (p pool) unstage(id, node string) error {
	if !idRE.MatchString(id) {
		return nil
	}
	if err := os.Remove(p.attachment(id, node) + stagedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (p pool) staged(id, node string) (bool, error) {
	_, err := os.Stat(p.attachment(id, node) + stagedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
