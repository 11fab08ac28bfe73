package reflinkcsi

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gocache.dev/operator/hack/devcluster/internal/faults"
)

const (
	fsType = "xfs"

	defaultSize = 1 << 30
	// minSize is the smallest XFS file system.
	minSize = 16 << 20
)

// ControllerGetCapabilities returns the operations on volumes.
func (d *Driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	resp := &csi.ControllerGetCapabilitiesResponse{}
	types := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
	}
	if d.shared() {
		types = append(types, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME)
	}
	for _, t := range types {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return resp, nil
}

// CreateVolume makes an empty volume, or one with the content of a snapshot or
// another volume. The name is the volume's id.
func (d *Driver) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if !idRE.MatchString(req.GetName()) {
		return nil, invalid("name %q is not usable as an id", req.GetName())
	}
	if err := supported(req.GetVolumeCapabilities()); err != nil {
		return nil, err
	}
	existing, err := d.pool.load(volumes, req.GetName())
	if errors.Is(err, errNotFound) {
		err = d.operations.do(ctx, path.Join(string(volumes), req.GetName()), func(ctx context.Context) error {
			return d.create(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		existing, err = d.pool.load(volumes, req.GetName())
	}
	if err != nil {
		return nil, err
	}
	if err := sameVolume(existing, req); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:           existing.ID,
		CapacityBytes:      existing.Bytes,
		ContentSource:      req.GetVolumeContentSource(),
		AccessibleTopology: d.accessible(existing),
	}}, nil
}

// sameVolume reports whether a volume of that name is the one that is asked for.
func sameVolume(r record, req *csi.CreateVolumeRequest) error {
	source, _, _ := contentSource(req)
	limit := req.GetCapacityRange().GetLimitBytes()
	if r.Source != source || r.Bytes < req.GetCapacityRange().GetRequiredBytes() || limit > 0 && r.Bytes > limit {
		return status.Errorf(codes.AlreadyExists, "volume %q exists with %d bytes and source %q", r.ID, r.Bytes, r.Source)
	}
	return nil
}

// contentSource returns where a new volume's content comes from, as a record
// names it, and where that lies.
func contentSource(req *csi.CreateVolumeRequest) (source string, k kind, id string) {
	switch s := req.GetVolumeContentSource(); {
	case s.GetSnapshot() != nil:
		k, id = snapshots, s.GetSnapshot().GetSnapshotId()
	case s.GetVolume() != nil:
		k, id = volumes, s.GetVolume().GetVolumeId()
	default:
		return "", "", ""
	}
	return path.Join(string(k), id), k, id
}

func supported(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return invalid("no volume capabilities")
	}
	for _, c := range capabilities {
		if c.GetBlock() != nil {
			return invalid("raw block volumes are not supported")
		}
		if fs := c.GetMount().GetFsType(); fs != "" && fs != fsType {
			return invalid("file system %q: only %s is supported", fs, fsType)
		}
	}
	return nil
}

// create makes the image and then the record, in that order: see record.
func (d *Driver) create(ctx context.Context, req *csi.CreateVolumeRequest) error {
	source, from, id := contentSource(req)
	op := map[kind]faults.Operation{"": faults.Create, snapshots: faults.Restore, volumes: faults.Clone}[from]
	rule, err := d.faults.inject(ctx, call{
		op: op, id: req.GetName(), parameters: req.GetParameters(), source: source,
		namespace: req.GetParameters()[claimNamespaceKey], name: req.GetParameters()[claimNameKey],
	})
	if err != nil {
		return err
	}
	d.changing.Lock()
	defer d.changing.Unlock()

	size := max(req.GetCapacityRange().GetRequiredBytes(), minSize)
	if req.GetCapacityRange().GetRequiredBytes() == 0 {
		size = defaultSize
	}
	start := time.Now()
	r := record{ID: req.GetName(), Source: source, Bytes: size, Formatted: size}
	r.Lazy = rule.Lazy
	if r.Topology, err = d.place(req, from, id); err != nil {
		return err
	}
	// An interrupted creation or deletion may have left something.
	if err := d.pool.remove(volumes, r.ID); err != nil {
		return err
	}
	if from == "" {
		err = d.format(ctx, d.pool.image(volumes, r.ID), size)
	} else {
		err = d.copySource(from, id, &r, rule.SameSize)
	}
	if err != nil {
		return err
	}
	r.Created = time.Now()
	if err := d.pool.save(volumes, r); err != nil {
		return err
	}
	d.log.Info("volume created", "id", r.ID, "bytes", r.Bytes, "source", source, "took", time.Since(start))
	return nil
}

// copySource copies a snapshot or a volume. The copy is never smaller.
func (d *Driver) copySource(from kind, id string, r *record, sameSize bool) error {
	src, err := d.pool.load(from, id)
	if err != nil {
		return err
	}
	if sameSize && r.Bytes != src.Bytes {
		return status.Errorf(codes.OutOfRange, "requested size %d does not match the size %d of the source", r.Bytes, src.Bytes)
	}
	r.Bytes, r.Formatted = max(r.Bytes, src.Bytes), src.Formatted
	if from == snapshots {
		return reflink(d.pool.image(from, id), d.pool.image(volumes, r.ID), r.Bytes)
	}
	return d.copyInUse(id, d.pool.image(volumes, r.ID), r.Bytes, false)
}

// copyInUse copies a volume that may be in use.
func (d *Driver) copyInUse(volume, to string, size int64, unsynced bool) error {
	image := d.pool.image(volumes, volume)
	copyImage := func() error { return reflink(image, to, size) }
	if unsynced {
		return copyImage()
	}
	dir, err := d.loops.mountOf(image)
	if err != nil {
		return err
	}
	if dir != "" {
		return whileFrozen(dir, copyImage)
	}
	if !d.shared() {
		return copyImage()
	}
	return d.loops.whileMounted(image, copyImage, func(dir string) error { return whileFrozen(dir, copyImage) })
}

// DeleteVolume removes a volume. A mount of it lives on until it is unmounted.
func (d *Driver) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, invalid("no volume id")
	}
	if nodes, err := d.pool.attached(req.GetVolumeId()); err != nil || len(nodes) > 0 {
		return nil, errors.Join(err, status.Errorf(codes.FailedPrecondition, "volume %q is attached to %v", req.GetVolumeId(), nodes))
	}
	return &csi.DeleteVolumeResponse{}, d.delete(ctx, faults.Delete, volumes, req.GetVolumeId())
}

func (d *Driver) delete(ctx context.Context, op faults.Operation, k kind, id string) error {
	return d.operations.do(ctx, path.Join(string(k), id), func(ctx context.Context) error {
		rule, err := d.faults.inject(ctx, call{op: op, id: id})
		if err != nil {
			return err
		}
		d.changing.Lock()
		defer d.changing.Unlock()
		if rule.WhileCopied {
			if err := d.uncopied(k, id); err != nil {
				return err
			}
		}
		if err := d.pool.remove(k, id); err != nil {
			return err
		}
		d.log.Info("deleted", "kind", k, "id", id)
		return nil
	})
}

// uncopied returns an error while a volume that was made from an image exists.
func (d *Driver) uncopied(k kind, id string) error {
	all, err := d.pool.list(volumes)
	for _, r := range all {
		if r.Source == path.Join(string(k), id) {
			return status.Errorf(codes.FailedPrecondition, "%s %q has dependent volume %q", k, id, r.ID)
		}
	}
	return err
}

// ValidateVolumeCapabilities confirms what CreateVolume would have accepted.
func (d *Driver) ValidateVolumeCapabilities(_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := d.pool.load(volumes, req.GetVolumeId()); err != nil {
		return nil, err
	}
	if err := supported(req.GetVolumeCapabilities()); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil //nolint:nilerr // the answer is "no"
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeCapabilities: req.GetVolumeCapabilities(),
	}}, nil
}

// GetCapacity returns how much more can be stored. Volumes are sparse, so more can
// be promised.
func (d *Driver) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	free, err := d.pool.free()
	return &csi.GetCapacityResponse{AvailableCapacity: free}, err
}

// ControllerExpandVolume makes the image larger; the node grows the file system.
func (d *Driver) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	err := d.operations.do(ctx, path.Join(string(volumes), req.GetVolumeId()), func(ctx context.Context) error {
		if _, err := d.pool.load(volumes, req.GetVolumeId()); err != nil {
			return err
		}
		if _, err := d.faults.inject(ctx, call{op: faults.Expand, id: req.GetVolumeId()}); err != nil {
			return err
		}
		return d.expand(req.GetVolumeId(), req.GetCapacityRange().GetRequiredBytes())
	})
	if err != nil {
		return nil, err
	}
	r, err := d.pool.load(volumes, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if r.Bytes < req.GetCapacityRange().GetRequiredBytes() {
		// What was waited for was a smaller expansion that was under way.
		return nil, status.Error(codes.Aborted, "another expansion was in progress")
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: r.Bytes, NodeExpansionRequired: true}, nil
}

func (d *Driver) expand(id string, size int64) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	r, err := d.pool.load(volumes, id)
	if err != nil || r.Bytes >= size {
		return err
	}
	if err := growTo(d.pool.image(volumes, id), size); err != nil {
		return err
	}
	r.Bytes = size
	d.log.Info("volume expanded", "id", id, "bytes", size)
	return d.pool.save(volumes, r)
}
