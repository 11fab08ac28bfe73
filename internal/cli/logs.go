package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

type logOptions struct {
	follow, previous bool
	tail             int64
	container        string
}

func (a *app) logsCommand() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "logs TARGET [INSTANCE]",
		Short: "Print the logs of the Job or the instance that matters now",
		Long: `Print the logs of a cache, a snapshot or a proxy: of the Job that runs, or else
of the last one; of an instance that is not healthy, or else of one that serves.

TARGET is the name of a GoCache, or KIND/NAME: gocache/ci, cachesnapshot/ci-1,
modproxy/goproxy.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeBoth(instancesAfterKind, v1alpha1.GoCacheKind, v1alpha1.ModProxyKind, v1alpha1.CacheSnapshotKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0], v1alpha1.GoCacheKind, v1alpha1.ModProxyKind, v1alpha1.CacheSnapshotKind)
			if err != nil {
				return err
			}
			instance := ""
			if len(args) > 1 {
				if target.Kind != v1alpha1.ModProxyKind {
					return fmt.Errorf("INSTANCE %s: only a modproxy has instances", args[1])
				}
				instance = args[1]
			}
			c, namespace, err := a.connect()
			if err != nil {
				return err
			}
			pod, why, err := podOf(cmd.Context(), c, namespace, target, instance)
			if err != nil {
				return err
			}
			return a.printLogs(cmd.Context(), pod, why, o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "print new lines as they are written")
	f.BoolVarP(&o.previous, "previous", "p", false, "of the previous run of the container")
	f.Int64Var(&o.tail, "tail", -1, "how many of the last lines; -1: all")
	f.StringVarP(&o.container, "container", "c", "", "container (default: the one that failed, or runs)")
	return cmd
}

// podOf finds the pod that matters, and describes it.
func podOf(ctx context.Context, c client.Reader, namespace string, t v1alpha1.RequestTarget, instance string) (*corev1.Pod, string, error) {
	key := client.ObjectKey{Namespace: namespace, Name: t.Name}
	switch t.Kind {
	case v1alpha1.ModProxyKind:
		var proxy v1alpha1.ModProxy
		if err := c.Get(ctx, key, &proxy); err != nil {
			return nil, "", err
		}
		return instancePod(ctx, c, &proxy, instance)
	case v1alpha1.CacheSnapshotKind:
		if err := c.Get(ctx, key, &v1alpha1.CacheSnapshot{}); err != nil {
			return nil, "", err
		}
		return jobPod(ctx, c, namespace, t, v1alpha1.SnapshotLabel)
	default:
		if err := c.Get(ctx, key, &v1alpha1.GoCache{}); err != nil {
			return nil, "", err
		}
		return jobPod(ctx, c, namespace, t, v1alpha1.CacheLabel)
	}
}

// jobPod is the newest pod of the Job that runs, or else of the last one.
func jobPod(ctx context.Context, c client.Reader, namespace string, t v1alpha1.RequestTarget, label string) (*corev1.Pod, string, error) {
	var jobs batchv1.JobList
	if err := c.List(ctx, &jobs, client.InNamespace(namespace), client.MatchingLabels{label: t.Name}); err != nil {
		return nil, "", err
	}
	if len(jobs.Items) == 0 {
		return nil, "", fmt.Errorf("%s %s has no Job now: finished ones are removed once they are recorded; see kubectl gocache status", t.Kind, t.Name)
	}
	job := slices.MaxFunc(jobs.Items, func(a, b batchv1.Job) int {
		if ra, rb := running(&a), running(&b); ra != rb {
			if ra {
				return 1
			}
			return -1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return nil, "", err
	}
	what := fmt.Sprintf("Job %s (%s)", job.Name, job.Labels[v1alpha1.ActionLabel])
	if len(pods.Items) == 0 {
		return nil, "", fmt.Errorf("%s has no pod: see kubectl describe job %s -n %s", what, job.Name, namespace)
	}
	pod := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &pod, what, nil
}

func running(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return true
}

// instancePod is the pod of an instance: a quarantined one, or else one that is
// not healthy, or else one that serves.
func instancePod(ctx context.Context, c client.Reader, p *v1alpha1.ModProxy, name string) (*corev1.Pod, string, error) {
	urgency := func(i v1alpha1.InstanceStatus) int {
		switch {
		case i.Quarantined != nil:
			return 3
		case !i.Healthy:
			return 2
		case i.Serving:
			return 1
		}
		return 0
	}
	if name == "" {
		if len(p.Status.Instances) == 0 {
			return nil, "", fmt.Errorf("ModProxy %s has no instances yet: see kubectl gocache status modproxy/%s -n %s", p.Name, p.Name, p.Namespace)
		}
		name = slices.MaxFunc(p.Status.Instances, func(a, b v1alpha1.InstanceStatus) int { return urgency(a) - urgency(b) }).Name
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(p.Namespace), client.MatchingLabels{v1alpha1.ProxyLabel: p.Name, v1alpha1.InstanceLabel: name}); err != nil {
		return nil, "", err
	}
	// The Jobs of its store have the labels as well.
	pods.Items = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.Labels[batchv1.JobNameLabel] != "" })
	if len(pods.Items) == 0 {
		var names []string
		for _, i := range p.Spec.Instances {
			names = append(names, i.Name)
		}
		return nil, "", fmt.Errorf("instance %s of ModProxy %s has no pod (instances: %s)", name, p.Name, strings.Join(names, ", "))
	}
	pod := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &pod, "instance " + name, nil
}

// containerOf is the container that failed, or else waits to be started again after it
// failed, or else runs, or else is the first.
func containerOf(pod *corev1.Pod) string {
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, s := range all {
		if s.State.Terminated != nil && s.State.Terminated.ExitCode != 0 {
			return s.Name
		}
	}
	for _, s := range all {
		if last := s.LastTerminationState.Terminated; s.State.Waiting != nil && last != nil && last.ExitCode != 0 {
			return s.Name
		}
	}
	sidecar := func(name string) bool {
		return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
			return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		})
	}
	for _, s := range all {
		if s.State.Running != nil && !sidecar(s.Name) {
			return s.Name
		}
	}
	return pod.Spec.Containers[0].Name
}

func (a *app) printLogs(ctx context.Context, pod *corev1.Pod, what string, o logOptions) error {
	container := o.container
	if container == "" {
		container = containerOf(pod)
	}
	clientset, err := a.clientset()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.ErrOut, "%s: pod %s, container %s\n", what, pod.Name, container); err != nil {
		return err
	}
	options := &corev1.PodLogOptions{Container: container, Follow: o.follow, Previous: o.previous}
	if o.tail >= 0 {
		options.TailLines = &o.tail
	}
	stream, err := clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("logs of pod %s: %w", pod.Name, err)
	}
	defer stream.Close() //nolint:errcheck // it was read
	if _, err := io.Copy(a.Out, stream); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("logs of pod %s: %w", pod.Name, err)
	}
	return nil
}
