package reflinkcsi

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gocache.dev/operator/hack/devcluster/internal/faults"
)

// CreateSnapshot creates a snapshot of a volume. The name is the snapshot's id. It is called
// again for as long as the snapshot is not ready to use.
func (d *Driver) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if !idRE.MatchString(req.GetName()) {
		return nil, invalid("name %q is not usable as an id", req.GetName())
	}
	r, err := d.pool.load(snapshots, req.GetName())
	if errors.Is(err, errNotFound) {
		err = d.operations.do(ctx, path.Join(string(snapshots), req.GetName()), func(ctx context.Context) error {
			return d.snapshot(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		r, err = d.pool.load(snapshots, req.GetName())
	}
	if err != nil {
		return nil, err
	}
	if r.Source != req.GetSourceVolumeId() {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %q is of volume %q", r.ID, r.Source)
	}
	answer, err := d.describe(r, callOf(req))
	return &csi.CreateSnapshotResponse{Snapshot: answer}, err
}

func callOf(req *csi.CreateSnapshotRequest) call {
	p := req.GetParameters()
	return call{
		op: faults.Snapshot, id: req.GetName(), parameters: p, source: path.Join(string(volumes), req.GetSourceVolumeId()),
		namespace: p[snapshotNamespaceKey], name: p[snapshotNameKey],
	}
}

func (d *Driver) snapshot(ctx context.Context, req *csi.CreateSnapshotRequest) error {
	volume, err := d.pool.load(volumes, req.GetSourceVolumeId())
	if err != nil {
		return err
	}
	rule, err := d.faults.inject(ctx, callOf(req))
	if err != nil {
		return err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	start := time.Now()
	if err := d.copyInUse(volume.ID, d.pool.image(snapshots, req.GetName()), volume.Bytes, rule.Unsynced); err != nil {
		return err
	}
	r := record{ID: req.GetName(), Source: volume.ID, Bytes: volume.Bytes, Formatted: volume.Formatted, Topology: volume.Topology, Created: time.Now(), SizeUnknown: rule.SizeUnknown}
	if rule.ReadyAfter > 0 {
		r.ReadyAt = r.Created.Add(time.Duration(rule.ReadyAfter))
	}
	// A class's fault is for good; the file's rule is asked again each time.
	class, found, err := faults.FromParameters(faults.Snapshot, req.GetParameters())
	if err != nil {
		return invalid("%v", err)
	}
	r.NeverReady = found && class.NotReady
	if err := d.pool.save(snapshots, r); err != nil {
		return err
	}
	d.log.Info("snapshot created", "id", r.ID, "volume", volume.ID, "unsynced", rule.Unsynced, "took", time.Since(start))
	return nil
}

// describe returns a snapshot, and whether it is ready.
func (d *Driver) describe(r record, c call) (*csi.Snapshot, error) {
	held, err := d.faults.stillNotReady(c)
	if err != nil {
		return nil, err
	}
	size := r.Bytes
	if r.SizeUnknown {
		size = 0
	}
	return &csi.Snapshot{
		SnapshotId:     r.ID,
		SourceVolumeId: r.Source,
		SizeBytes:      size,
		CreationTime:   timestamppb.New(r.Created),
		ReadyToUse:     !held && !r.NeverReady && !time.Now().Before(r.ReadyAt),
	}, nil
}

// DeleteSnapshot removes a snapshot. Volumes made from it do not need it.
func (d *Driver) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, invalid("no snapshot id")
	}
	return &csi.DeleteSnapshotResponse{}, d.delete(ctx, faults.DeleteSnapshot, snapshots, req.GetSnapshotId())
}

// ListSnapshots lists by id, which is what the sidecar does for a snapshot that
// it did not make itself, by volume, or all.
func (d *Driver) ListSnapshots(_ context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	all, err := d.pool.list(snapshots)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r record) bool {
		return req.GetSnapshotId() != "" && r.ID != req.GetSnapshotId() ||
			req.GetSourceVolumeId() != "" && r.Source != req.GetSourceVolumeId()
	})
	page, next, err := paginate(all, req.GetStartingToken(), int(req.GetMaxEntries()))
	if err != nil {
		return nil, err
	}
	resp := &csi.ListSnapshotsResponse{NextToken: next}
	for _, r := range page {
		s, err := d.describe(r, call{op: faults.Snapshot, id: r.ID})
		if err != nil {
			return nil, err
		}
		resp.Entries = append(resp.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: s})
	}
	return resp, nil
}

// paginate returns one page of a list; a token is the position where the next page starts.
func paginate(all []record, token string, limit int) (page []record, next string, err error) {
	start := 0
	if token != "" {
		if start, err = strconv.Atoi(token); err != nil || start < 0 || start > len(all) {
			return nil, "", status.Errorf(codes.Aborted, "no such starting token %q", token)
		}
	}
	end := len(all)
	if limit > 0 && start+limit < end {
		end = start + limit
		next = strconv.Itoa(end)
	}
	return all[start:end], next, nil
}
