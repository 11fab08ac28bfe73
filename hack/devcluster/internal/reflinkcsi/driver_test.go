package reflinkcsi

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// newDriver returns a driver whose images hold the name of their volume instead
// of a file system.
func newDriver(t *testing.T) *Driver {
	t.Helper()
	dir := t.TempDir()
	d, err := New(Options{
		Name: "test", Node: "node", Pool: filepath.Join(dir, "pool"), Devices: filepath.Join(dir, "devices"),
		Faults: filepath.Join(dir, "faults.json"), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.format = func(_ context.Context, file string, size int64) error {
		if err := os.WriteFile(file, []byte(filepath.Base(file)), 0o600); err != nil {
			return err
		}
		return os.Truncate(file, size)
	}
	return d
}

func setFaults(t *testing.T, d *Driver, text string) {
	t.Helper()
	if err := os.WriteFile(d.options.Faults, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var mountCapability = []*csi.VolumeCapability{{
	AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
}}

func volumeRequest(name string, size int64, source *csi.VolumeContentSource) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: mountCapability,
		CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeContentSource: source,
	}
}

func fromSnapshot(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: id},
	}}
}

func fromVolume(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id},
	}}
}

func create(t *testing.T, d *Driver, req *csi.CreateVolumeRequest) *csi.Volume {
	t.Helper()
	resp, err := d.CreateVolume(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetVolume()
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(asStatus(err)); got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// content is how an image begins.
func content(t *testing.T, d *Driver, k kind, id string, length int) string {
	t.Helper()
	f, err := os.Open(d.pool.image(k, id))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, length)
	if _, err := f.Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const size = 32 << 20

func TestCreatingTwiceIsCreatingOnce(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	first := create(t, d, volumeRequest("a", size, nil))
	if err := os.WriteFile(d.pool.image(volumes, "a"), []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := create(t, d, volumeRequest("a", size, nil))
	if first.GetVolumeId() != second.GetVolumeId() || second.GetCapacityBytes() != size {
		t.Errorf("got %v, then %v", first, second)
	}
	if got := content(t, d, volumes, "a", 7); got != "written" {
		t.Errorf("the second call made it anew: %q", got)
	}
	_, err := d.CreateVolume(t.Context(), volumeRequest("a", 2*size, nil))
	wantCode(t, err, codes.AlreadyExists)
	_, err = d.CreateVolume(t.Context(), volumeRequest("a", size, fromVolume("b")))
	wantCode(t, err, codes.AlreadyExists)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	if v := create(t, d, volumeRequest("tiny", 1, nil)); v.GetCapacityBytes() != minSize {
		t.Errorf("got %d, want the smallest file system", v.GetCapacityBytes())
	}
	if v := create(t, d, volumeRequest("default", 0, nil)); v.GetCapacityBytes() != defaultSize {
		t.Errorf("got %d, want the default", v.GetCapacityBytes())
	}
}

func TestNamesCannotEscapeThePool(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	outside := filepath.Join(filepath.Dir(d.options.Pool), "outside.img")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../../outside", "a/b", ".", "-rf"} {
		_, err := d.CreateVolume(t.Context(), volumeRequest(name, size, nil))
		wantCode(t, err, codes.InvalidArgument)
		if name != "" {
			if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: name}); err != nil {
				t.Errorf("delete %q: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a file outside was removed: %v", err)
	}
}

func TestOnlyWhatIsSupportedIsPromised(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	for name, capabilities := range map[string][]*csi.VolumeCapability{
		"none":  nil,
		"block": {{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}}},
		"btrfs": {{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "btrfs"}}}},
	} {
		req := volumeRequest(name, size, nil)
		req.VolumeCapabilities = capabilities
		_, err := d.CreateVolume(t.Context(), req)
		wantCode(t, err, codes.InvalidArgument)
	}
}

func TestSnapshotKeepsWhatWasAndOutlivesItsVolume(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	snapshot := &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "a"}
	first, err := d.CreateSnapshot(t.Context(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if s := first.GetSnapshot(); !s.GetReadyToUse() || s.GetSizeBytes() != size || s.GetSourceVolumeId() != "a" {
		t.Errorf("got %v", s)
	}
	if err := os.WriteFile(d.pool.image(volumes, "a"), []byte("later"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := d.CreateSnapshot(t.Context(), snapshot)
	if err != nil || !second.GetSnapshot().GetCreationTime().AsTime().Equal(first.GetSnapshot().GetCreationTime().AsTime()) {
		t.Errorf("the second call took it anew: %v, %v", second, err)
	}
	if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "a"}); err != nil {
		t.Fatal(err)
	}
	restored := create(t, d, volumeRequest("b", 2*size, fromSnapshot("s")))
	if got := content(t, d, volumes, "b", 5); got != "a.img" || restored.GetCapacityBytes() != 2*size {
		t.Errorf("restored %q, %d bytes", got, restored.GetCapacityBytes())
	}
	if r, err := d.pool.load(volumes, "b"); err != nil || r.Formatted != size {
		t.Errorf("the file system is said to be %d bytes (%v), want its source's %d", r.Formatted, err, size)
	}
	_, err = d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "b"})
	wantCode(t, err, codes.AlreadyExists)
	_, err = d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "t", SourceVolumeId: "gone"})
	wantCode(t, err, codes.NotFound)
	_, err = d.CreateVolume(t.Context(), volumeRequest("c", size, fromSnapshot("gone")))
	wantCode(t, err, codes.NotFound)
}

func TestCloneIsOfTheMoment(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	create(t, d, volumeRequest("b", 1, fromVolume("a")))
	if err := os.WriteFile(d.pool.image(volumes, "a"), []byte("later"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, d, volumes, "b", 5); got != "a.img" {
		t.Errorf("got %q", got)
	}
	if r, err := d.pool.load(volumes, "b"); err != nil || r.Bytes != size {
		t.Errorf("a clone of %d bytes (%v), smaller than its source", r.Bytes, err)
	}
}

func TestAnInterruptedCreationIsRepeated(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	if err := os.WriteFile(d.pool.image(volumes, "a"), []byte("half of something"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, d, volumeRequest("a", size, nil))
	if got := content(t, d, volumes, "a", 5); got != "a.img" {
		t.Errorf("got %q", got)
	}
}

func TestDeletingTwiceIsDeletingOnce(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	for range 2 {
		if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "a"}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: "s"}); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(d.options.Pool, string(volumes)))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	expand := func(to int64) (*csi.ControllerExpandVolumeResponse, error) {
		return d.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
			VolumeId: "a", CapacityRange: &csi.CapacityRange{RequiredBytes: to},
		})
	}
	for _, to := range []int64{2 * size, 2 * size, size} {
		resp, err := expand(to)
		if err != nil || resp.GetCapacityBytes() != 2*size || !resp.GetNodeExpansionRequired() {
			t.Errorf("to %d: %v, %v", to, resp, err)
		}
	}
	info, err := os.Stat(d.pool.image(volumes, "a"))
	if err != nil || info.Size() != 2*size {
		t.Errorf("the image has %d bytes, %v", info.Size(), err)
	}
	setFaults(t, d, `{"rules":[{"operation":"expand","error":"not today","code":"ResourceExhausted"}]}`)
	_, err = expand(4 * size)
	wantCode(t, err, codes.ResourceExhausted)
	if r, err := d.pool.load(volumes, "a"); err != nil || r.Bytes != 2*size {
		t.Errorf("a refused expansion left %d bytes, %v", r.Bytes, err)
	}
}

func TestFaultsAreCountedAndClearedAtRunTime(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	take := func(name string) error {
		_, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{
			Name: name, SourceVolumeId: "a",
			Parameters: map[string]string{snapshotNamespaceKey: "ci", snapshotNameKey: name},
		})
		return err
	}
	const twice = `{"rules":[{"operation":"snapshot","namespace":"ci","name":"s*","error":"busy","code":"Unavailable","times":2}]}`
	setFaults(t, d, twice)
	wantCode(t, take("s1"), codes.Unavailable)
	wantCode(t, take("other"), codes.OK)
	wantCode(t, take("s1"), codes.Unavailable)
	wantCode(t, take("s1"), codes.OK)
	setFaults(t, d, `{"rules":[]}`)
	wantCode(t, take("s2"), codes.OK)
	setFaults(t, d, twice)
	wantCode(t, take("s3"), codes.Unavailable)
	setFaults(t, d, `{"rules":[{"operation":"snapshot","error":"busy","code":"Unavailable","times":1,"each":true}]}`)
	for _, name := range []string{"s4", "s5"} {
		wantCode(t, take(name), codes.Unavailable)
		wantCode(t, take(name), codes.OK)
	}
	setFaults(t, d, `{`)
	wantCode(t, take("s3"), codes.Internal)
}

// TestCopiesAsInClouds holds what clouds and thin LVM refuse: copies of another size, or too
// many in a time, and the deletion of a snapshot that has copies.
func TestCopiesAsInClouds(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("v", 32<<20, nil))
	setFaults(t, d, `{"rules":[{"operation":"snapshot","sizeUnknown":true},{"operation":"restore","sameSize":true,"every":"1h"},{"operation":"delete-snapshot","whileCopied":true}]}`)
	for _, name := range []string{"s", "other"} {
		made, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: "v"})
		if err != nil || made.GetSnapshot().GetSizeBytes() != 0 {
			t.Fatalf("got the size %d, %v", made.GetSnapshot().GetSizeBytes(), err)
		}
	}
	create(t, d, volumeRequest("first", 32<<20, fromSnapshot("s")))
	_, err := d.CreateVolume(t.Context(), volumeRequest("second", 32<<20, fromSnapshot("s")))
	wantCode(t, err, codes.ResourceExhausted)
	_, err = d.CreateVolume(t.Context(), volumeRequest("larger", 64<<20, fromSnapshot("other")))
	wantCode(t, err, codes.OutOfRange)
	_, err = d.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: "s"})
	wantCode(t, err, codes.FailedPrecondition)
	if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "first"}); err != nil {
		t.Fatal(err)
	}
	if _, err = d.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: "s"}); err != nil {
		t.Error(err)
	}
}

func TestASnapshotIsHeldBackAsLongAsTheFaultStands(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	ready := func(name string, parameters map[string]string) bool {
		t.Helper()
		resp, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: "a", Parameters: parameters})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: name})
		if err != nil || len(listed.GetEntries()) != 1 {
			t.Fatal(listed, err)
		}
		if listed.GetEntries()[0].GetSnapshot().GetReadyToUse() != resp.GetSnapshot().GetReadyToUse() {
			t.Errorf("%s: ListSnapshots and CreateSnapshot do not agree", name)
		}
		return resp.GetSnapshot().GetReadyToUse()
	}
	setFaults(t, d, `{"rules":[{"operation":"snapshot","notReady":true}]}`)
	for range 2 {
		if ready("s", nil) {
			t.Error("it is ready")
		}
	}
	setFaults(t, d, `{"rules":[{"operation":"snapshot","name":"late","readyAfter":"1h"}]}`)
	if !ready("s", nil) {
		t.Error("the fault is cleared, and it is still held back")
	}
	if ready("late", nil) {
		t.Error("it is ready an hour early")
	}
	if class := map[string]string{"fault/notReady": "true"}; ready("class", class) {
		t.Error("its class says never, and it is ready")
	}
}

func TestWorkGoesOnWhenTheCallerStopsWaiting(t *testing.T) {
	t.Parallel()
	o := newOperations()
	var started atomic.Int32
	release := make(chan struct{})
	work := func(context.Context) error {
		started.Add(1)
		<-release
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	wantCode(t, o.do(ctx, "a", work), codes.Aborted)

	done := make(chan error)
	go func() { done <- o.do(t.Context(), "a", work) }()
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The second call may have come after the end of the first one's work.
	if n := started.Load(); n < 1 || n > 2 {
		t.Errorf("the work was started %d times", n)
	}
	failure := errors.New("failure")
	if err := o.do(t.Context(), "a", func(context.Context) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestSecondCallerJoins(t *testing.T) {
	t.Parallel()
	o := newOperations()
	release := make(chan struct{})
	first := o.join(t.Context(), "a", func(context.Context) error { <-release; return nil })
	second := o.join(t.Context(), "a", func(context.Context) error { t.Error("started anew"); return nil })
	other := o.join(t.Context(), "b", func(context.Context) error { return nil })
	<-other.done
	if first != second {
		t.Error("two operations under one key")
	}
	close(release)
	<-first.done
}

func TestListSnapshotsByPages(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("a", size, nil))
	create(t, d, volumeRequest("b", size, nil))
	for name, source := range map[string]string{"s1": "a", "s2": "a", "s3": "b"} {
		if _, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: source}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	token := ""
	for range 4 {
		resp, err := d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{MaxEntries: 2, StartingToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.GetEntries() {
			ids = append(ids, e.GetSnapshot().GetSnapshotId())
		}
		if token = resp.GetNextToken(); token == "" {
			break
		}
	}
	if len(ids) != 3 || ids[0] != "s1" || ids[2] != "s3" {
		t.Errorf("got %v", ids)
	}
	ofB, err := d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SourceVolumeId: "b"})
	if err != nil || len(ofB.GetEntries()) != 1 {
		t.Errorf("of volume b: %v, %v", ofB, err)
	}
	none, err := d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: "gone"})
	if err != nil || len(none.GetEntries()) != 0 {
		t.Errorf("of no such id: %v, %v", none, err)
	}
	_, err = d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{StartingToken: "x"})
	wantCode(t, err, codes.Aborted)
}

func TestParseMounts(t *testing.T) {
	t.Parallel()
	got := parseMounts("36 35 7:3 / /a\\040b rw shared:1 - xfs /dev/loop3 rw\n37 35 0:5 / /proc rw - proc proc rw\nshort\n")
	if len(got) != 2 || got[0].dir != "/a b" {
		t.Fatalf("got %+v", got)
	}
	if n, ok := loopNumber(got[0]); n != 3 || !ok {
		t.Errorf("loop %d, %v", n, ok)
	}
	if _, ok := loopNumber(got[1]); ok {
		t.Error("proc is taken for a loop device")
	}
}
