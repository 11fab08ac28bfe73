package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/faults"
)

// NodeGetCapabilities returns the operations on volumes on the node.
func (d *Driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}},
		})
	}
	return resp, nil
}

// NodeGetInfo returns the name of this node.
func (d *Driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.options.Node, AccessibleTopology: d.topology()}, nil
}

// mountData are the mount's options: a copy has its source's UUID, and both may
// be mounted.
const mountData = "nouuid"

// NodeStageVolume mounts the volume once for all pods of the node.
func (d *Driver) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	r, err := d.pool.load(volumes, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := supported([]*csi.VolumeCapability{req.GetVolumeCapability()}); err != nil {
		return nil, err
	}
	if _, err := d.faults.inject(ctx, call{op: faults.Mount, id: r.ID}); err != nil {
		return nil, err
	}
	if d.shared() {
		if err := d.pool.stage(r.ID, d.options.Node); err != nil {
			return nil, err
		}
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	dir := req.GetStagingTargetPath()
	mounted, err := isMountPoint(dir)
	if err != nil || mounted {
		return &csi.NodeStageVolumeResponse{}, err
	}
	// It may have been expanded while a fault delayed this.
	if r, err = d.pool.load(volumes, r.ID); err != nil {
		return nil, err
	}
	data := strings.Join(append([]string{mountData}, req.GetVolumeCapability().GetMount().GetMountFlags()...), ",")
	if err := d.mount(ctx, r, dir, data); err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, d.grow(ctx, r, dir)
}

// grow makes the file system as large as the image, which a restored or an
// expanded volume's may not be yet. The caller holds d.changing.
func (d *Driver) grow(ctx context.Context, r record, dir string) error {
	if r.Formatted >= r.Bytes {
		return nil
	}
	if err := d.loops.growFileSystem(ctx, dir); err != nil {
		return err
	}
	if d.shared() {
		return nil // the record is the controller's, on another node
	}
	r.Formatted = r.Bytes
	return d.pool.save(volumes, r)
}

// mount mounts a volume. Nodes that may use it at the same time mount the same device,
// which to the kernel is one file system.
func (d *Driver) mount(ctx context.Context, r record, dir, data string) error {
	image := d.pool.image(volumes, r.ID)
	if d.shared() {
		device, err := d.loops.device(image)
		if err != nil {
			return err
		}
		if device != nil {
			return errors.Join(mountDevice(device, dir, data), device.Close())
		}
	}
	open := openImage
	if r.Lazy > 0 {
		open = func(image string) (backing, error) { return d.openLazily(ctx, image, time.Duration(r.Lazy)) }
	}
	b, err := open(image)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // the device holds its own reference
	return d.loops.mount(b, dir, data)
}

// NodeUnstageVolume undoes NodeStageVolume; the loop device goes with the mount.
func (d *Driver) NodeUnstageVolume(_ context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if err := unmount(req.GetStagingTargetPath()); err != nil || !d.shared() {
		return &csi.NodeUnstageVolumeResponse{}, err
	}
	return &csi.NodeUnstageVolumeResponse{}, d.pool.unstage(req.GetVolumeId(), d.options.Node)
}

// NodePublishVolume shows the volume to one pod.
func (d *Driver) NodePublishVolume(_ context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	staged, err := isMountPoint(req.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	if !staged {
		return nil, fmt.Errorf("volume %q is not staged at %s", req.GetVolumeId(), req.GetStagingTargetPath())
	}
	target := req.GetTargetPath()
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	mounted, err := isMountPoint(target)
	if err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
	if err := unix.Mount(req.GetStagingTargetPath(), target, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind %s: %w", target, err)
	}
	if !req.GetReadonly() {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("make %s read-only: %w", target, err), unmount(target))
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume undoes NodePublishVolume.
func (d *Driver) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := unmount(req.GetTargetPath()); err != nil {
		return nil, err
	}
	if err := os.Remove(req.GetTargetPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeGetVolumeStats reads the file system's own figures.
func (d *Driver) NodeGetVolumeStats(_ context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(req.GetVolumePath(), &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%s: %w", req.GetVolumePath(), errNotFound)
		}
		return nil, err
	}
	block := uint64(st.Bsize) //nolint:gosec // a block size is positive
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		usage(csi.VolumeUsage_BYTES, st.Blocks*block, st.Bfree*block, st.Bavail*block),
		usage(csi.VolumeUsage_INODES, st.Files, st.Ffree, st.Ffree),
	}}, nil
}

func usage(unit csi.VolumeUsage_Unit, total, free, available uint64) *csi.VolumeUsage {
	//nolint:gosec // no file system is that large
	return &csi.VolumeUsage{Unit: unit, Total: int64(total), Used: int64(total - free), Available: int64(available)}
}

// NodeExpandVolume grows the file system to what the image has become.
func (d *Driver) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	r, err := d.pool.load(volumes, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := d.grow(ctx, r, req.GetVolumePath()); err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: r.Bytes}, nil
}
