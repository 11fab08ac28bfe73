package jobrun

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
)

// Started is the result of [Start].
type Started struct {
	// UID of the Job that was created, or of one that exists and runs the same.
	// Empty: one of the name is being deleted, or was deleted since it differs.
	UID string
	// Untrusted is why a Job of the name was deleted; empty: none was.
	Untrusted string
}

// Start creates a Job for its owner. The uid is to be recorded in the status: by
// it [Authenticate] finds that the Job is the operator's own. A Job of the name
// that runs something else was created by another client, and is deleted.
func Start(ctx context.Context, a apply.Applier, owner client.Object, job *batchv1.Job) (Started, error) {
	found, err := read.Object[batchv1.Job](ctx, a.Live, job.Namespace, job.Name)
	if err != nil {
		return Started{}, err
	}
	if found == nil {
		uid, err := a.Create(ctx, apply.ControlledBy(owner), job)
		return Started{UID: string(uid)}, err // without a uid, one of the name came first: the next pass reads it
	}
	if err := apply.Check(owner, job.Labels, found, "Job"); err != nil || !found.DeletionTimestamp.IsZero() {
		return Started{}, err
	}
	if why := differsFrom(job, found); why != "" {
		return Started{Untrusted: untrusted(found, why)}, apply.Delete(ctx, a.Client, found)
	}
	return Started{UID: string(found.UID)}, nil
}

// Authenticate makes the outcome of a Job inconclusive unless the operator
// created the Job: its uid is the recorded one, or the Job runs what the
// operator would create, since a crash between the two may have lost the uid.
// Any client that may create Jobs can create one of the name, with the labels
// and the owner. The outcome of such a Job is Ended, so that it is not waited
// for, and Untrusted is why.
//
// expected makes the Job to compare with. It is called only without the uid. It
// returns nil while that Job is not decided, which makes the outcome Running.
func Authenticate(ctx context.Context, live client.Reader, job *batchv1.Job, o Outcome, recorded string, expected func() (*batchv1.Job, error)) (Outcome, error) {
	if job == nil || o.Phase == Deleting || o.Run == recorded {
		return o, nil
	}
	found, err := read.Object[batchv1.Job](ctx, live, job.Namespace, job.Name)
	if err != nil {
		return o, err
	}
	if found == nil || found.UID != job.UID { // the cache that it was read from is behind
		return Outcome{Phase: Deleting, Run: o.Run}, nil
	}
	want, err := expected()
	why := ""
	switch stalled := conditions.Stalled(err); {
	case stalled != nil:
		why = "the operator cannot create it now: " + stalled.Message
	case err != nil:
		return o, err
	case want == nil:
		return Outcome{Phase: Running, Run: o.Run, Started: o.Started, Ready: true}, nil
	default:
		why = differsFrom(want, found)
	}
	if why == "" {
		return o, nil
	}
	o.Untrusted = untrusted(job, why)
	o.Phase, o.Ready, o.ExitCode, o.Message, o.Cause, o.Pod = Ended, false, nil, "", o.Untrusted, ""
	if o.Ended.IsZero() {
		o.Ended = o.Started
	}
	return o, nil
}

func untrusted(job *batchv1.Job, why string) string {
	return fmt.Sprintf("Job %s is not the one that the operator created (%s): its report is not trusted", job.Name, why)
}

// differsFrom returns in which respect a Job on the server is not the one that
// the operator creates; empty: in none. It is stricter than the comparison of a
// pod with its Job: nothing may be added. Where admission adds something to
// Jobs, a run is repeated whose uid was lost.
func differsFrom(created, found *batchv1.Job) string {
	for key, value := range created.Annotations {
		switch key {
		case TemplateAnnotation: // what the digest is of is compared below
		case v1alpha1.CauseAnnotation, v1alpha1.CacheRequestAnnotation: // they change nothing that the Job does
		case v1alpha1.VolumeAnnotation:
			// The PVC, of which the uid is compared, may be bound since: by the pod of the Job.
			if is := found.Annotations[key]; is != "" && is != value {
				return "annotation " + key
			}
		default:
			if found.Annotations[key] != value {
				return "annotation " + key
			}
		}
	}
	if ptr.Deref(found.Spec.Parallelism, 1) != 1 || ptr.Deref(found.Spec.Completions, 1) != 1 ||
		!equality.Semantic.DeepEqual(found.Spec.BackoffLimit, created.Spec.BackoffLimit) {
		return "the number of its pods"
	}
	want, have := created.Spec.Template.DeepCopy(), found.Spec.Template.DeepCopy()
	for _, containers := range [][]corev1.Container{want.Spec.InitContainers, want.Spec.Containers, have.Spec.InitContainers, have.Spec.Containers} {
		for i := range containers { // as the server defaults it
			if containers[i].TerminationMessagePath == "" {
				containers[i].TerminationMessagePath = corev1.TerminationMessagePathDefault
			}
		}
	}
	if why := differs(want, have.Annotations, have.Spec); why != "" {
		return why
	}
	if !equality.Semantic.DeepEqual(executed(want.Spec), executed(have.Spec)) {
		return "something was added to its pod template"
	}
	return ""
}

// executed is what of a pod template decides what runs, and with what: without
// the place where it runs, the rights and resources it gets, and what the
// server sets by default. Volumes are compared by what their mounts show.
func executed(pod corev1.PodSpec) corev1.PodSpec {
	pod = *pod.DeepCopy()
	pod.NodeName, pod.NodeSelector, pod.Affinity, pod.Tolerations, pod.TopologySpreadConstraints = "", nil, nil, nil, nil
	pod.SchedulerName, pod.PriorityClassName, pod.RuntimeClassName = "", "", nil
	pod.TerminationGracePeriodSeconds, pod.DNSPolicy, pod.SecurityContext = nil, "", nil
	pod.Volumes = nil
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			c := &containers[i]
			c.ImagePullPolicy, c.TerminationMessagePolicy, c.TerminationMessagePath = "", "", ""
			c.SecurityContext, c.Resources = nil, corev1.ResourceRequirements{}
		}
	}
	return pod
}

// annotationDiffers returns which of the operator's own annotations differs: the
// downward API shows some of them to the agent.
func annotationDiffers(want, have map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if strings.HasPrefix(key, v1alpha1.GroupName+"/") && have[key] != want[key] {
			return "annotation " + key
		}
	}
	return ""
}
