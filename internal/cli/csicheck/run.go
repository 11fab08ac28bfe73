package csicheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/cli/status"
	"gocache.dev/operator/internal/cli/temporary"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/volume"
)

const (
	// mount is where the pods have the volume.
	mount = "/volume"
	// user that the pods run as, and whose the files are.
	user = 65532
	// stages that wait for at most Options.Timeout each.
	stages = 5
	// Steps are all that a run reports, and the removal of what it has created.
	Steps = stages + 1

	defaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"
)

// Options of a run.
type Options struct {
	// StorageClass to check.
	StorageClass string
	// VolumeSnapshotClass of the snapshot; empty: that which a GoCache would use.
	VolumeSnapshotClass string
	// Size of the volume; the larger ones have twice of it.
	Size resource.Quantity
	// Image with the agent.
	Image string
	// Timeout of each check.
	Timeout time.Duration
	// Now is the clock; Progress is called with each step that begins.
	Now      func() time.Time
	Progress func(text string)
}

// run is one run.
type run struct {
	Options
	set    *temporary.Set
	class  *storagev1.StorageClass
	claim  *corev1.PersistentVolumeClaim
	source *snapshotv1.VolumeSnapshot
	report Report
}

// larger is the size of the larger volumes.
func (r *run) larger() resource.Quantity {
	size := r.Size.DeepCopy()
	size.Add(r.Size)
	return size
}

// Run makes all checks with objects of the set, which the caller removes. An error
// is a failure to check, not a result.
func Run(ctx context.Context, set *temporary.Set, o Options) (Report, error) {
	r := run{Options: o, set: set, report: Report{StorageClass: o.StorageClass}}
	class := &storagev1.StorageClass{}
	if err := set.Client.Get(ctx, client.ObjectKey{Name: o.StorageClass}, class); err != nil {
		return r.report, fmt.Errorf("StorageClass %s: %w; kubectl get storageclass lists those that there are", o.StorageClass, err)
	}
	r.class, r.report.Driver = class, class.Provisioner
	snapshotClass, reason, fix, err := r.snapshotClass(ctx)
	if err != nil {
		return r.report, err
	}
	r.report.VolumeSnapshotClass = snapshotClass

	provisioned, err := r.check(ctx, Provision, r.provision)
	if err != nil {
		return r.report, err
	}
	switch {
	case !provisioned:
		r.skip("there is no volume", Snapshot, Clone, Larger, Expand)
		return r.report, nil
	case reason != "":
		r.add(Check{Name: Snapshot, Level: status.LevelFailure, Message: reason, Fix: fix})
		r.skip("there is no snapshot", Clone, Larger)
	default:
		if err := r.restores(ctx); err != nil {
			return r.report, err
		}
	}
	if !ptr.Deref(class.AllowVolumeExpansion, false) {
		r.add(Check{
			Name: Expand, Level: status.LevelFailure, Message: "the StorageClass does not allow it, so that spec.storage.growth and a larger size have no effect",
			Fix: fmt.Sprintf(`kubectl patch storageclass %s -p '{"allowVolumeExpansion":true}'`, class.Name),
		})
		return r.report, nil
	}
	_, err = r.check(ctx, Expand, r.expand)
	return r.report, err
}

// restores checks the snapshot and the volumes that are created from it.
func (r *run) restores(ctx context.Context) error {
	created, err := r.check(ctx, Snapshot, r.snapshot)
	if err != nil {
		return err
	}
	if !created {
		r.skip("there is no snapshot", Clone, Larger)
		return nil
	}
	if _, err := r.check(ctx, Clone, func(ctx context.Context) (string, error) { return r.clone(ctx, "clone", r.Size) }); err != nil {
		return err
	}
	_, err = r.check(ctx, Larger, func(ctx context.Context) (string, error) { return r.clone(ctx, "larger", r.larger()) })
	return err
}

func (r *run) add(c Check) { r.report.Checks = append(r.report.Checks, c) }

func (r *run) skip(why string, names ...string) {
	for _, name := range names {
		r.add(Check{Name: name, Level: status.LevelWarning, Message: "not checked: " + why})
	}
}

// check makes one check and measures it. Only an error that is no result of the
// check, such as an interruption or a missing right, is returned.
func (r *run) check(ctx context.Context, name string, do func(context.Context) (string, error)) (bool, error) {
	r.Progress(name + " ...")
	began := r.Now()
	message, err := do(ctx)
	c := Check{Name: name, Level: status.LevelOK, Seconds: r.Now().Sub(began).Round(100 * time.Millisecond).Seconds(), Message: message}
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case apierrors.IsForbidden(err) && !errors.Is(err, errResult):
		return false, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		c.Level, c.Message = status.LevelFailure, strings.Join(strings.Fields(err.Error()), " ")
		c.Fix = fmt.Sprintf("kubectl gocache csicheck %s -n %s --keep; kubectl describe pods,pvc,volumesnapshots -n %s -l %s",
			r.StorageClass, r.set.Namespace, r.set.Namespace, temporary.CreatedBy)
	}
	r.add(c)
	return err == nil, nil
}

// errResult marks what a pod has found.
var errResult = errors.New("the content is not what was written")

// snapshotClass is the class of the snapshot: the one that is named, or the one
// that the operator would use. Without one, it returns the reason and how to
// correct that.
func (r *run) snapshotClass(ctx context.Context) (name, reason, fix string, err error) {
	var all snapshotv1.VolumeSnapshotClassList
	err = r.set.Client.List(ctx, &all)
	switch {
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return "", "snapshot.storage.k8s.io/v1 is not served", "kubectl apply -k 'https://github.com/kubernetes-csi/external-snapshotter/client/config/crd'", nil
	case apierrors.IsForbidden(err) && r.VolumeSnapshotClass != "":
		return r.VolumeSnapshotClass, "", "", nil
	case err != nil:
		return "", "", "", fmt.Errorf("list VolumeSnapshotClasses (name one with --snapshot-class if you may not): %w", err)
	}
	var own, defaults []string
	for i := range all.Items {
		c := &all.Items[i]
		if c.Name == r.VolumeSnapshotClass && c.Driver != r.class.Provisioner {
			return "", fmt.Sprintf("VolumeSnapshotClass %s is of driver %s, and StorageClass %s of %s", c.Name, c.Driver, r.class.Name, r.class.Provisioner), "kubectl get volumesnapshotclass", nil
		}
		if c.Driver != r.class.Provisioner {
			continue
		}
		own = append(own, c.Name)
		if c.Annotations[defaultSnapshotClass] == "true" {
			defaults = append(defaults, c.Name)
		}
	}
	switch {
	case r.VolumeSnapshotClass != "":
		return r.VolumeSnapshotClass, "", "", nil // whether it exists is for the snapshot to show
	case len(own) == 0:
		return "", "there is no VolumeSnapshotClass for driver " + r.class.Provisioner,
			fmt.Sprintf("printf 'apiVersion: snapshot.storage.k8s.io/v1\\nkind: VolumeSnapshotClass\\nmetadata: {name: %s}\\ndriver: %s\\ndeletionPolicy: Delete\\n' | kubectl create -f -", r.class.Name, r.class.Provisioner), nil
	case len(defaults) == 1:
		return defaults[0], "", "", nil
	case len(own) > 1:
		return "", fmt.Sprintf("driver %s has %d VolumeSnapshotClasses, %d of them default: name one with --snapshot-class, and in spec.snapshots.volumeSnapshotClassName", r.class.Provisioner, len(own), len(defaults)),
			fmt.Sprintf("kubectl annotate volumesnapshotclass %s %s=true", own[0], defaultSnapshotClass), nil
	}
	return own[0], "", "", nil
}

// provision creates a volume, writes to it, and keeps it mounted: a driver may
// need a mounted volume to expand it.
func (r *run) provision(ctx context.Context) (string, error) {
	spec := r.pod(r.set.Name, agentcommand.VolumeTestCheck{Dir: mount, Hold: true})
	write := spec.Containers[0].DeepCopy()
	write.Name, write.Command = "write", agentcommand.InImage(agentcommand.VolumeTestWrite{Dir: mount})
	// The last line of its log has the reason why it could not write.
	write.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	spec.InitContainers = []corev1.Container{*write}
	if err := r.set.Begin(ctx, spec, stages*r.Timeout+time.Minute); err != nil {
		return "", err
	}
	r.claim = volume.Claim{Name: r.set.Name, Class: &r.class.Name, Size: r.Size}.Object()
	if err := r.set.Create(ctx, r.claim); err != nil {
		return "", err
	}
	pod, err := r.set.JobPod(ctx, r.Timeout, func(pod *corev1.Pod) (bool, error) {
		if message, _, ended := temporary.Result(pod); ended {
			return false, fmt.Errorf("pod %s ended: %s", pod.Name, message)
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running != nil {
				return true, nil
			}
		}
		return false, nil
	})
	if err == nil {
		return fmt.Sprintf("a volume of %s, mounted and written to on node %s", &r.Size, pod.Spec.NodeName), nil
	}
	if ctx.Err() != nil {
		return "", err
	}
	// The warning of the provisioner is the cause of a pod that waits.
	return "", r.set.Explain(ctx, r.claim, err)
}

// snapshot creates a snapshot of the mounted volume.
func (r *run) snapshot(ctx context.Context) (string, error) {
	r.source = volume.Snapshot{Name: r.set.Name, Class: &r.report.VolumeSnapshotClass, Claim: r.claim.Name}.Object()
	if err := r.set.Create(ctx, r.source); err != nil {
		return "", err
	}
	err := r.set.Wait(ctx, r.source, r.Timeout, func() (bool, string, error) {
		saw := "the snapshot is not ready to use, and the driver reports nothing: does the snapshot controller run?"
		if text := volume.SnapshotError(r.source); text != "" {
			saw = text
		}
		return volume.ReadyToUse(r.source), saw, nil
	})
	return "a snapshot of the mounted volume is ready to use", err
}

// clone creates a volume of a size from the snapshot and compares its content.
func (r *run) clone(ctx context.Context, name string, size resource.Quantity) (string, error) {
	name = r.set.Name + "-" + name
	if r.source.Status.RestoreSize != nil {
		size = volume.Larger(&size, r.source.Status.RestoreSize)
	}
	claim := volume.Claim{Name: name, Class: &r.class.Name, Size: size, Snapshot: r.source.Name}.Object()
	if err := r.set.Create(ctx, claim); err != nil {
		return "", err
	}
	pod, err := r.set.Pod(ctx, name, r.pod(name, agentcommand.VolumeTestCheck{Dir: mount}))
	if err != nil {
		return "", err
	}
	err = r.set.Wait(ctx, pod, r.Timeout, func() (bool, string, error) {
		_, _, ended := temporary.Result(pod)
		return ended, temporary.Seen(pod), nil
	})
	if err != nil {
		return "", r.set.Explain(ctx, claim, err)
	}
	message, ok, _ := temporary.Result(pod)
	if !ok {
		return "", fmt.Errorf("%w: %s", errResult, message)
	}
	var found struct {
		Files         int   `json:"files"`
		CapacityBytes int64 `json:"capacityBytes"`
	}
	if err := json.Unmarshal([]byte(message), &found); err != nil {
		return "", fmt.Errorf("pod %s ended without a report: %q", pod.Name, message)
	}
	// A file system keeps some of its device for itself, but not half.
	if r.Size.Cmp(size) < 0 && found.CapacityBytes <= r.Size.Value() {
		return "", fmt.Errorf("the volume was to have %s, and its file system has %s: the driver does not grow it to the size of the volume",
			&size, resource.NewQuantity(found.CapacityBytes>>20<<20, resource.BinarySI))
	}
	return fmt.Sprintf("a volume of %s from the snapshot, with all %d files that were written", &size, found.Files), nil
}

// expand asks for twice the size while the volume is mounted.
func (r *run) expand(ctx context.Context) (string, error) {
	size := r.larger()
	before := r.claim.DeepCopy()
	r.claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: size}
	if err := r.set.Client.Patch(ctx, r.claim, client.MergeFrom(before)); err != nil {
		return "", err
	}
	err := r.set.Wait(ctx, r.claim, r.Timeout, func() (bool, string, error) {
		capacity := r.claim.Status.Capacity[corev1.ResourceStorage]
		saw := fmt.Sprintf("the PVC has %s", &capacity)
		for _, c := range r.claim.Status.Conditions {
			if c.Status == corev1.ConditionTrue {
				saw += fmt.Sprintf(", condition %s %s", c.Type, c.Message)
			}
		}
		return capacity.Cmp(size) >= 0, saw, nil
	})
	return fmt.Sprintf("from %s to %s while mounted", &r.Size, &size), err
}

// pod runs the agent's volume test on a PVC.
func (r *run) pod(claim string, command agentcommand.VolumeTestCheck) corev1.PodSpec {
	return corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](user), RunAsGroup: ptr.To[int64](user), FSGroup: ptr.To[int64](user),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{podspec.Claim("volume", claim)},
		Containers: []corev1.Container{{
			Name: "check", Image: r.Image, Command: agentcommand.InImage(command),
			VolumeMounts: []corev1.VolumeMount{{Name: "volume", MountPath: mount}},
		}},
	}
}
