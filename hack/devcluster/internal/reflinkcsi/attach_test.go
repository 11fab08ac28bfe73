package reflinkcsi

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

// newShared returns the driver of one of several nodes.
func newShared(t *testing.T) *Driver {
	t.Helper()
	d := newDriver(t)
	d.options.Zone = "a"
	return d
}

func capability(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
}

func attachTo(t *testing.T, d *Driver, volume, node string, mode csi.VolumeCapability_AccessMode_Mode) error {
	t.Helper()
	_, err := d.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
		VolumeId: volume, NodeId: node, VolumeCapability: capability(mode),
	})
	return err
}

func detachFrom(t *testing.T, d *Driver, volume, node string) {
	t.Helper()
	_, err := d.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: volume, NodeId: node})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAVolumeIsAttachedToOneNode(t *testing.T) {
	t.Parallel()
	const one, many = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	d := newShared(t)
	create(t, d, volumeRequest("a", size, nil))
	for range 2 {
		if err := attachTo(t, d, "a", "n1", one); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, attachTo(t, d, "a", "n2", one), codes.FailedPrecondition)
	if err := attachTo(t, d, "a", "n2", many); err != nil {
		t.Errorf("for reading on many nodes: %v", err)
	}
	if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "a"}); err == nil {
		t.Error("an attached volume was deleted")
	}
	detachFrom(t, d, "a", "n2")
	detachFrom(t, d, "a", "n1")
	detachFrom(t, d, "a", "n1")
	if err := attachTo(t, d, "a", "n2", one); err != nil {
		t.Errorf("after it was detached: %v", err)
	}
	detachFrom(t, d, "a", "n2")
	if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "a"}); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(d.options.Pool, string(attachments))); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestALostNodeDoesNotReachTheVolume(t *testing.T) {
	t.Parallel()
	d := newShared(t)
	create(t, d, volumeRequest("a", size, nil))
	if err := d.pool.stage("a", "n1"); err == nil {
		t.Error("a volume that is not attached was mounted")
	}
	if err := attachTo(t, d, "a", "n1", csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER); err != nil {
		t.Fatal(err)
	}
	if err := d.pool.stage("a", "n1"); err != nil {
		t.Fatal(err)
	}
	lost, err := os.OpenFile(d.pool.image(volumes, "a"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close() //nolint:errcheck // the file is gone
	detachFrom(t, d, "a", "n1")
	if _, err := lost.WriteAt([]byte("late"), 0); err != nil {
		t.Fatal(err)
	}
	if got := content(t, d, volumes, "a", 4); got != "a.im" {
		t.Errorf("the node that lost it wrote %q", got)
	}
	if err := d.pool.stage("a", "n1"); err == nil {
		t.Error("the node mounts it again")
	}
}

func places(segments ...map[string]string) *csi.TopologyRequirement {
	r := &csi.TopologyRequirement{}
	for _, s := range segments {
		r.Requisite = append(r.Requisite, &csi.Topology{Segments: s})
	}
	r.Preferred = r.GetRequisite()
	return r
}

func TestClassesDecideWhereAVolumeIs(t *testing.T) {
	t.Parallel()
	d := newShared(t)
	n1 := map[string]string{"test/node": "n1", "test/zone": "a"}
	n2 := map[string]string{"test/node": "n2", "test/zone": "b"}
	for topology, key := range map[string]string{"": "", "node": "test/node", "zone": "test/zone"} {
		req := volumeRequest("v"+topology, size, nil)
		req.Parameters = map[string]string{topologyParameter: topology}
		req.AccessibilityRequirements = places(n2)
		got := create(t, d, req).GetAccessibleTopology()
		if key == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || len(got[0].GetSegments()) != 1 || got[0].GetSegments()[key] != n2[key] {
			t.Errorf("topology %q: %v", topology, got)
		}
	}

	elsewhere := volumeRequest("elsewhere", size, fromVolume("vnode"))
	elsewhere.AccessibilityRequirements = places(n1)
	_, err := d.CreateVolume(t.Context(), elsewhere)
	wantCode(t, err, codes.ResourceExhausted)
	near := volumeRequest("near", size, fromVolume("vnode"))
	near.AccessibilityRequirements = places(n1, n2)
	if got := create(t, d, near).GetAccessibleTopology(); len(got) != 1 || got[0].GetSegments()["test/node"] != "n2" {
		t.Errorf("the copy is in %v", got)
	}

	local := newDriver(t)
	if got := create(t, local, volumeRequest("a", size, nil)).GetAccessibleTopology(); len(got) != 1 || got[0].GetSegments()["test/node"] != "node" {
		t.Errorf("with one node: %v", got)
	}
}
