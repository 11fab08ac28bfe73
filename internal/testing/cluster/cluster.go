package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
)

// Ending is how a Job's container ends.
type Ending struct {
	// Exit code and termination message.
	Exit    int32
	Message string
	// Evicted: the pod is disrupted and leaves no report.
	Evicted bool
	// Lost: the pod is gone before it can be observed.
	Lost bool
}

// Cluster is one namespace.
type Cluster struct {
	// Client reaches the API server.
	Client client.Client
	// JobController creates the pods of Jobs; nil: Client.
	JobController client.Client
	// Namespace that is played in.
	Namespace string
	// Now is the time of what happens.
	Now func() time.Time
	// Job returns how a Job ends; nil leaves it running.
	Job func(*batchv1.Job) *Ending
	// HoldPods keeps pods from going: their node does not answer.
	HoldPods bool
	// Sidecar, if it is set, is added to each pod by admission and never ends: as a
	// container, or with SidecarRestarts as an init container that is restarted.
	Sidecar         string
	SidecarRestarts bool
	// Stuck is the status of pods that never run; nil: they run at once.
	Stuck *corev1.PodStatus
	// HoldExpansion keeps PVCs as large as they are, whatever they ask for.
	HoldExpansion bool
	// Driver of the volumes; empty: the one that snapshots are made with.
	Driver string
	// Unbound are PVCs that the driver makes no volume for.
	Unbound func(*corev1.PersistentVolumeClaim) bool
	// Contents gives each VolumeSnapshot a content with a CSI handle of its own, which
	// others can refer to.
	Contents bool
	// SnapshotError is the error of the CSI driver in place of a snapshot.
	SnapshotError string
	// Affinity of the volumes that are provisioned; nil: every node can reach them.
	Affinity *corev1.VolumeNodeAffinity
	// ReclaimPolicy of the volumes that are provisioned; empty: Delete.
	ReclaimPolicy corev1.PersistentVolumeReclaimPolicy
	// Reclaimed are the volumes whose data was deleted by their policy.
	Reclaimed []string
}

// Step does one round of what others do in a real cluster, and reports whether
// anything was left to do.
func (c *Cluster) Step(ctx context.Context) (acted bool, err error) {
	for _, part := range []func(context.Context) (bool, error){c.collect, c.bindVolumes, c.bindClaims, c.expand, c.created, c.runJobs} {
		did, err := part(ctx)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return acted, err
		}
		acted = acted || did
	}
	return acted, nil
}

// clusterOwn reports whether a finalizer is held by a controller that is played
// here, and not by the operator.
func clusterOwn(finalizer string) bool { return !strings.HasPrefix(finalizer, v1alpha1.GroupName) }

// kinds that garbage collection looks at.
func kinds() []client.ObjectList {
	return []client.ObjectList{
		&corev1.PodList{}, &batchv1.JobList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ConfigMapList{},
		&snapshotv1.VolumeSnapshotList{}, &v1alpha1.CacheSnapshotList{}, &v1alpha1.GoCacheList{}, &v1alpha1.ModProxyList{},
	}
}

// all are the objects of the namespace that garbage collection handles.
func (c *Cluster) all(ctx context.Context) ([]client.Object, error) {
	var all []client.Object
	for _, list := range kinds() {
		if err := c.Client.List(ctx, list, client.InNamespace(c.Namespace)); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
		switch l := list.(type) {
		case *corev1.PodList:
			all = append(all, pointers(l.Items)...)
		case *batchv1.JobList:
			all = append(all, pointers(l.Items)...)
		case *corev1.PersistentVolumeClaimList:
			all = append(all, pointers(l.Items)...)
		case *corev1.ConfigMapList:
			all = append(all, pointers(l.Items)...)
		case *snapshotv1.VolumeSnapshotList:
			all = append(all, pointers(l.Items)...)
		case *v1alpha1.CacheSnapshotList:
			all = append(all, pointers(l.Items)...)
		case *v1alpha1.GoCacheList:
			all = append(all, pointers(l.Items)...)
		case *v1alpha1.ModProxyList:
			all = append(all, pointers(l.Items)...)
		}
	}
	return all, nil
}

func pointers[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	var out []client.Object
	for i := range items {
		out = append(out, P(&items[i]))
	}
	return out
}

// collect plays garbage collection and the protection of PVCs in use.
func (c *Cluster) collect(ctx context.Context) (acted bool, err error) {
	all, err := c.all(ctx)
	if err != nil {
		return false, err
	}
	alive := map[types.UID]bool{}
	used := map[string]bool{}
	for _, o := range all {
		alive[o.GetUID()] = true
		if pod, ok := o.(*corev1.Pod); ok {
			for _, v := range pod.Spec.Volumes {
				if v.PersistentVolumeClaim != nil {
					used[v.PersistentVolumeClaim.ClaimName] = true
				}
			}
		}
	}
	for _, o := range all {
		owner := metav1.GetControllerOf(o)
		_, isClaim := o.(*corev1.PersistentVolumeClaim)
		if _, isPod := o.(*corev1.Pod); isPod && c.HoldPods {
			continue
		}
		switch {
		case !o.GetDeletionTimestamp().IsZero() && slices.ContainsFunc(o.GetFinalizers(), clusterOwn) && !(isClaim && used[o.GetName()]):
			o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), clusterOwn))
			err = c.Client.Update(ctx, o)
		case owner != nil && !alive[owner.UID] && o.GetDeletionTimestamp().IsZero():
			err = c.Client.Delete(ctx, o, client.GracePeriodSeconds(0))
		default:
			continue
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return acted, fmt.Errorf("collect %T %s: %w", o, o.GetName(), err)
		}
		acted = true
	}
	return acted, nil
}

// expand plays the CSI resizer and the kubelet.
func (c *Cluster) expand(ctx context.Context) (acted bool, err error) {
	var claims corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &claims, client.InNamespace(c.Namespace)); err != nil {
		return false, fmt.Errorf("list PVCs: %w", err)
	}
	for i := range claims.Items {
		pvc := &claims.Items[i]
		asks, has := pvc.Spec.Resources.Requests[corev1.ResourceStorage], pvc.Status.Capacity[corev1.ResourceStorage]
		if c.HoldExpansion || pvc.Status.Phase != corev1.ClaimBound || asks.Cmp(has) <= 0 || !pvc.DeletionTimestamp.IsZero() {
			continue
		}
		pvc.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: asks}
		if err := c.Client.Status().Update(ctx, pvc); err != nil {
			return acted, fmt.Errorf("expand %s: %w", pvc.Name, err)
		}
		acted = true
	}
	return acted, nil
}

// created plays the CSI snapshotter.
func (c *Cluster) created(ctx context.Context) (acted bool, err error) {
	var snapshots snapshotv1.VolumeSnapshotList
	if err := c.Client.List(ctx, &snapshots, client.InNamespace(c.Namespace)); err != nil {
		return false, fmt.Errorf("list snapshots: %w", err)
	}
	for i := range snapshots.Items {
		s := &snapshots.Items[i]
		if !s.DeletionTimestamp.IsZero() || s.Status != nil && s.Status.ReadyToUse != nil && *s.Status.ReadyToUse {
			continue
		}
		if s.Spec.Source.VolumeSnapshotContentName != nil {
			did, err := c.bindToContent(ctx, s)
			if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				return acted, fmt.Errorf("bind snapshot %s: %w", s.Name, err)
			}
			acted = acted || did
			continue
		}
		if err := c.makeContent(ctx, s); err != nil {
			return acted, fmt.Errorf("make the content of snapshot %s: %w", s.Name, err)
		}
		now := metav1.NewTime(c.Now())
		if c.SnapshotError != "" {
			if s.Status != nil && s.Status.Error != nil {
				continue
			}
			s.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(false), Error: &snapshotv1.VolumeSnapshotError{Time: &now, Message: &c.SnapshotError}}
		} else {
			s.Status = &snapshotv1.VolumeSnapshotStatus{
				ReadyToUse: ptr.To(true), CreationTime: &now, RestoreSize: ptr.To(resource.MustParse("1Gi")),
				BoundVolumeSnapshotContentName: ptr.To("content-" + string(s.UID)),
			}
		}
		if err := c.Client.Status().Update(ctx, s); err != nil {
			return acted, fmt.Errorf("create snapshot %s: %w", s.Name, err)
		}
		acted = true
	}
	return acted, nil
}

// bindToContent binds a VolumeSnapshot that names its content, if the content names
// it in turn, and by its uid if it names one.
func (c *Cluster) bindToContent(ctx context.Context, s *snapshotv1.VolumeSnapshot) (bool, error) {
	var content snapshotv1.VolumeSnapshotContent
	if err := c.Client.Get(ctx, client.ObjectKey{Name: *s.Spec.Source.VolumeSnapshotContentName}, &content); err != nil {
		return false, err
	}
	ref := content.Spec.VolumeSnapshotRef
	if ref.Namespace != s.Namespace || ref.Name != s.Name || ref.UID != "" && ref.UID != s.UID {
		return false, nil
	}
	s.Status = &snapshotv1.VolumeSnapshotStatus{
		ReadyToUse: ptr.To(true), RestoreSize: ptr.To(resource.MustParse("1Gi")), BoundVolumeSnapshotContentName: &content.Name,
	}
	return true, c.Client.Status().Update(ctx, s)
}

// makeContent makes the content of a VolumeSnapshot, with a handle.
func (c *Cluster) makeContent(ctx context.Context, s *snapshotv1.VolumeSnapshot) error {
	if !c.Contents {
		return nil
	}
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content-" + string(s.UID)},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: cmp.Or(c.Driver, env.Driver), DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
			Source:            snapshotv1.VolumeSnapshotContentSource{VolumeHandle: s.Spec.Source.PersistentVolumeClaimName},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: s.Namespace, Name: s.Name, UID: s.UID},
		},
	}
	if err := c.Client.Create(ctx, content); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	content.Status = &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: ptr.To("handle-" + string(s.UID)), ReadyToUse: ptr.To(true)}
	return c.Client.Status().Update(ctx, content)
}

// runJobs plays the Job controller and the kubelet.
func (c *Cluster) runJobs(ctx context.Context) (acted bool, err error) {
	var jobs batchv1.JobList
	if err := c.Client.List(ctx, &jobs, client.InNamespace(c.Namespace)); err != nil {
		return false, fmt.Errorf("list Jobs: %w", err)
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		ended := slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
		})
		if ended || !job.DeletionTimestamp.IsZero() {
			continue
		}
		var how *Ending
		if c.Job != nil {
			how = c.Job(job.DeepCopy())
		}
		if how == nil {
			pod, began, err := c.pod(ctx, job)
			if apierrors.IsForbidden(err) {
				if began, err = c.refuse(ctx, job, err); err != nil {
					return acted, err
				}
				acted = acted || began
				continue
			}
			if err == nil && began {
				err = c.beginPod(ctx, job, pod)
			}
			if err != nil {
				return acted, err
			}
			acted = acted || began
			continue
		}
		if c.Sidecar != "" && job.Status.StartTime != nil {
			continue // the sidecar runs on
		}
		if err := c.end(ctx, job, *how); err != nil {
			return acted, err
		}
		acted = true
	}
	return acted, nil
}

// refuse reports, as the Job controller does, that the pod of a Job cannot be created.
func (c *Cluster) refuse(ctx context.Context, job *batchv1.Job, why error) (acted bool, err error) {
	now := metav1.NewTime(c.Now())
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name + "." + string(job.UID)[:5]},
		InvolvedObject: corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: job.Namespace, Name: job.Name, UID: job.UID},
		Type:           corev1.EventTypeWarning, Reason: "FailedCreate", Message: "Error creating: " + errors.Unwrap(why).Error(),
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := c.Client.Create(ctx, e); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		return false, fmt.Errorf("report that the pod of Job %s is refused: %w", job.Name, err)
	}
	return true, nil
}

// end runs a Job's pod to its end.
func (c *Cluster) end(ctx context.Context, job *batchv1.Job, how Ending) error {
	now := metav1.NewTime(c.Now())
	if !how.Lost {
		pod, _, err := c.pod(ctx, job)
		if err != nil {
			return err
		}
		if err := c.endPod(ctx, pod, how, now); err != nil {
			return err
		}
		if c.Sidecar != "" { // which runs on
			job.Status.StartTime, job.Status.Active, job.Status.Ready = &now, 1, ptr.To[int32](0)
			if err := c.Client.Status().Update(ctx, job); err != nil {
				return fmt.Errorf("continue Job %s: %w", job.Name, err)
			}
			return nil
		}
	}
	if job.Status.StartTime == nil {
		job.Status.StartTime = &now
	}
	condition := func(t batchv1.JobConditionType, reason string) batchv1.JobCondition {
		return batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now, LastProbeTime: now}
	}
	job.Status.Active, job.Status.Ready = 0, ptr.To[int32](0)
	if how.Exit == 0 && !how.Evicted {
		job.Status.Succeeded = 1
		job.Status.CompletionTime = &now
		job.Status.Conditions = append(job.Status.Conditions, condition(batchv1.JobSuccessCriteriaMet, "CompletionsReached"), condition(batchv1.JobComplete, "CompletionsReached"))
	} else {
		job.Status.Failed = 1
		job.Status.Conditions = append(job.Status.Conditions, condition(batchv1.JobFailureTarget, "BackoffLimitExceeded"), condition(batchv1.JobFailed, "BackoffLimitExceeded"))
	}
	if err := c.Client.Status().Update(ctx, job); err != nil {
		return fmt.Errorf("end Job %s: %w", job.Name, err)
	}
	return nil
}

// pod is the running pod of a Job, and reports whether it had to be made.
func (c *Cluster) pod(ctx context.Context, job *batchv1.Job) (pod *corev1.Pod, began bool, err error) {
	template := job.Spec.Template.DeepCopy()
	pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: job.Name + "-" + string(job.UID)[:5], Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: template.Spec,
	}
	pod.Labels[batchv1.JobNameLabel], pod.Labels[batchv1.ControllerUidLabel] = job.Name, string(job.UID)
	switch added := (corev1.Container{Name: c.Sidecar, Image: "sidecar", Command: []string{"sleep", "infinity"}}); {
	case c.Sidecar == "":
	case c.SidecarRestarts:
		added.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, added)
	default:
		pod.Spec.Containers = append(pod.Spec.Containers, added)
	}
	creator := c.JobController
	if creator == nil {
		creator = c.Client
	}
	err = creator.Create(ctx, pod)
	if apierrors.IsAlreadyExists(err) {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return nil, false, fmt.Errorf("read the pod of Job %s: %w", job.Name, err)
		}
		return pod, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("make the pod of Job %s: %w", job.Name, err)
	}
	return pod, true, nil
}

// beginPod lets a pod run, or be stuck.
func (c *Cluster) beginPod(ctx context.Context, job *batchv1.Job, pod *corev1.Pod) error {
	now := metav1.NewTime(c.Now())
	job.Status.StartTime, job.Status.Active = &now, 1
	if c.Stuck != nil {
		pod.Status = *c.Stuck.DeepCopy()
	} else {
		pod.Status.Phase, job.Status.Ready = corev1.PodRunning, ptr.To[int32](1)
	}
	if err := c.Client.Status().Update(ctx, pod); err != nil {
		return fmt.Errorf("begin pod %s: %w", pod.Name, err)
	}
	if err := c.Client.Status().Update(ctx, job); err != nil {
		return fmt.Errorf("begin Job %s: %w", job.Name, err)
	}
	return nil
}

func (c *Cluster) endPod(ctx context.Context, pod *corev1.Pod, how Ending, now metav1.Time) error {
	pod.Status.Phase = corev1.PodSucceeded
	if how.Exit != 0 || how.Evicted {
		pod.Status.Phase = corev1.PodFailed
	}
	code := how.Exit
	if how.Evicted {
		code = 137
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting", LastTransitionTime: now,
		}}
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: how.Message, StartedAt: now, FinishedAt: now}},
	}}
	if c.Sidecar != "" {
		running := corev1.ContainerStatus{Name: c.Sidecar, Image: "sidecar", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}
		pod.Status.Phase = corev1.PodRunning
		if c.SidecarRestarts {
			pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, running)
		} else {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, running)
		}
	}
	if err := c.Client.Status().Update(ctx, pod); err != nil {
		return fmt.Errorf("end pod %s: %w", pod.Name, err)
	}
	return nil
}

// restorable reports whether a CSI snapshot can be restored now.
func (c *Cluster) restorable(ctx context.Context, name string) (bool, error) {
	var s snapshotv1.VolumeSnapshot
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && s.Status != nil && ptr.Deref(s.Status.ReadyToUse, false), err
}
