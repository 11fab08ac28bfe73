package temporary

import (
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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/refusal"
)

const (
	// InstanceLabel has the name of the Set on each of its objects.
	InstanceLabel = "app.kubernetes.io/instance"
	// createdByLabel and createdBy mark the objects of all Sets.
	createdByLabel = "app.kubernetes.io/created-by"
	createdBy      = "kubectl-gocache"
	// CreatedBy selects the objects of all Sets.
	CreatedBy = createdByLabel + "=" + createdBy

	// removal is how long Remove waits until everything is gone.
	removal = 2 * time.Minute
	// explanation is how long Explain reads events.
	explanation = 10 * time.Second
	// afterwards is how long the Job of a command that was killed stays after its
	// end, in seconds.
	afterwards = 60
)

// Set is the objects of one run of a command, in one namespace.
type Set struct {
	// Client has the rights of the user.
	Client client.Client
	// Namespace of the objects; Name of the Job and the prefix of all other names.
	Namespace, Name string
	// Interval between two reads of what is waited for.
	Interval time.Duration
	// Keep leaves the objects until the deadline of the Job, for an examination.
	Keep bool

	job *batchv1.Job
}

// Begin creates the Job that owns the others, with a pod of this spec. It ends
// after the limit, whatever becomes of the command.
func (s *Set) Begin(ctx context.Context, pod corev1.PodSpec, limit time.Duration) error {
	confine(&pod)
	s.job = &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.labels()},
		Spec: batchv1.JobSpec{
			BackoffLimit:            ptr.To[int32](0),
			ActiveDeadlineSeconds:   ptr.To(int64(limit.Seconds())),
			TTLSecondsAfterFinished: ptr.To[int32](afterwards),
			Template:                corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: s.labels()}, Spec: pod},
		},
	}
	return s.Client.Create(ctx, s.job)
}

// Create creates an object that goes with the Job of the Set.
func (s *Set) Create(ctx context.Context, o client.Object) error {
	o.SetNamespace(s.Namespace)
	o.SetLabels(s.labels())
	// Not as its controller: the Job would count a pod as its own.
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: s.job.Name, UID: s.job.UID}})
	return s.Client.Create(ctx, o)
}

// Pod creates a pod that goes with the Job of the Set.
func (s *Set) Pod(ctx context.Context, name string, spec corev1.PodSpec) (*corev1.Pod, error) {
	confine(&spec)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	return pod, s.Create(ctx, pod)
}

func (s *Set) labels() map[string]string {
	return map[string]string{InstanceLabel: s.Name, createdByLabel: createdBy}
}

// confine completes the spec of a pod that runs the agent: no token, no rights
// and bounded resources.
func confine(pod *corev1.PodSpec) {
	pod.RestartPolicy = corev1.RestartPolicyNever
	pod.AutomountServiceAccountToken = ptr.To(false)
	pod.EnableServiceLinks = ptr.To(false)
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			containers[i].SecurityContext = podspec.Restricted()
		}
	}
	podspec.Bound(pod, nil)
}

// Wait reads an object until it is as it should be, for at most limit. The error
// of a wait that ends early has what was seen last, and the newest warning about
// the object.
func (s *Set) Wait(ctx context.Context, o client.Object, limit time.Duration, holds func() (ok bool, saw string, err error)) error {
	saw := ""
	err := wait.PollUntilContextTimeout(ctx, s.Interval, limit, true, func(ctx context.Context) (ok bool, err error) {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return false, err
		}
		ok, saw, err = holds()
		return ok, err
	})
	if interrupted(ctx) {
		return errors.Join(ctx.Err(), err)
	}
	if err == nil {
		return nil
	}
	if wait.Interrupted(err) {
		err = fmt.Errorf("not within %s: %s", limit, saw)
	}
	return s.Explain(ctx, o, err)
}

// interrupted reports whether the user has ended the command. What a context that has
// expired ends is explained.
func interrupted(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// Explain adds the newest warning about an object to an error, also when the context has
// expired.
func (s *Set) Explain(ctx context.Context, o client.Object, err error) error {
	if interrupted(ctx) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explanation)
	defer cancel()
	warning, unread := refusal.Newest(ctx, s.Client, s.Namespace, o.GetUID())
	if unread != nil || warning == "" || strings.Contains(err.Error(), warning) {
		return err // events may not be readable: the error is what counts
	}
	return fmt.Errorf("%w (%s)", err, warning)
}

// JobPod waits until the Job has a pod that holds satisfies, for at most limit.
func (s *Set) JobPod(ctx context.Context, limit time.Duration, holds func(*corev1.Pod) (bool, error)) (*corev1.Pod, error) {
	var pod *corev1.Pod
	saw := "the Job has no pod"
	err := wait.PollUntilContextTimeout(ctx, s.Interval, limit, true, func(ctx context.Context) (bool, error) {
		found, err := s.pod(ctx)
		if err != nil || found == nil {
			return false, err
		}
		pod = found
		saw = Seen(pod)
		return holds(pod)
	})
	if interrupted(ctx) {
		return pod, errors.Join(ctx.Err(), err)
	}
	if err == nil {
		return pod, nil
	}
	if wait.Interrupted(err) {
		err = fmt.Errorf("not within %s: %s", limit, saw)
	}
	if pod == nil {
		return nil, s.Explain(ctx, s.job, err)
	}
	return pod, s.Explain(ctx, pod, err)
}

// pod is the first pod of the Job; nil: there is none.
func (s *Set) pod(ctx context.Context) (*corev1.Pod, error) {
	for pod, err := range jobrun.Pods(ctx, s.Client, s.Namespace, s.Name) {
		return pod.DeepCopy(), err
	}
	return nil, nil
}

// Seen describes a pod by what keeps it, or else by its phase.
func Seen(pod *corev1.Pod) string {
	if why := jobrun.PodHindrance(pod, time.Time{}); why != "" {
		return why
	}
	return fmt.Sprintf("pod %s is %s", pod.Name, pod.Status.Phase)
}

// Result is what the main container of a pod has left when it has ended, or an init
// container that has failed: the message, and whether it succeeded.
func Result(pod *corev1.Pod) (message string, ok, ended bool) {
	for _, c := range pod.Status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 && !sidecar(pod, c.Name) {
			return strings.TrimSpace(t.Message), false, true
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			return strings.TrimSpace(t.Message), t.ExitCode == 0, true
		}
	}
	if pod.Status.Phase == corev1.PodFailed { // evicted, or ended by its deadline
		return strings.TrimSpace(pod.Status.Reason + " " + pod.Status.Message), false, true
	}
	return "", pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodSucceeded
}

// sidecar reports whether an init container runs beside the main one, and ends after it.
func sidecar(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
	})
}

// Remove deletes all objects of the Set and waits until they are gone, for a
// bounded time. It does not end with the context: an interrupted command cleans
// up as well. The error names the command that removes what is left.
func (s *Set) Remove(ctx context.Context) error {
	if s.job == nil || s.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	retained := s.reclaim(ctx)
	left := ""
	err := wait.PollUntilContextCancel(ctx, s.Interval, true, func(ctx context.Context) (bool, error) {
		names, err := s.delete(ctx)
		left = strings.Join(names, ", ")
		return err == nil && len(names) == 0, ignoreTransient(err)
	})
	if err != nil {
		err = fmt.Errorf("what the command created is not removed (%s): %w; remove it with: kubectl delete jobs,pods,pvc,volumesnapshots -n %s -l %s=%s",
			left, err, s.Namespace, InstanceLabel, s.Name)
	}
	return errors.Join(err, retained)
}

// ignoreTransient keeps errors that go on being errors.
func ignoreTransient(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return err
	}
	return nil
}

// delete deletes what is there, and returns the names of what is not gone.
func (s *Set) delete(ctx context.Context) ([]string, error) {
	var names []string
	var errs []error
	for _, kind := range []struct {
		name string
		list client.ObjectList
	}{
		// The Job first, or it would create its pod again.
		{"job", &batchv1.JobList{}}, {"pod", &corev1.PodList{}},
		{"volumesnapshot", &snapshotv1.VolumeSnapshotList{}}, {"pvc", &corev1.PersistentVolumeClaimList{}},
	} {
		err := s.Client.List(ctx, kind.list, client.InNamespace(s.Namespace), client.MatchingLabels{InstanceLabel: s.Name, createdByLabel: createdBy})
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) { // a cluster without snapshots
			continue
		}
		errs = append(errs, err)
		if err != nil {
			continue
		}
		objects, err := meta.ExtractList(kind.list)
		errs = append(errs, err)
		for _, one := range objects {
			o, ok := one.(client.Object)
			if !ok {
				continue
			}
			names = append(names, kind.name+"/"+o.GetName())
			if o.GetDeletionTimestamp().IsZero() {
				errs = append(errs, client.IgnoreNotFound(s.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground))))
			}
		}
	}
	return names, errors.Join(errs...)
}
