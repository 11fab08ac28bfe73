package writer

import (
	"cmp"
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/volume"
	plan "gocache.dev/operator/internal/plan/writer"
)

// consumer is a pod on a node that mounts the cache PVC.
type consumer struct {
	node string
	// runs: the node has the volume.
	runs bool
	// lost is why the pod is not seen gone.
	lost string
}

// consumers are the pods that mount the cache PVC, if its volume can be on one
// node only.
func (t *turn) consumers(ctx context.Context) ([]consumer, error) {
	if slices.Contains(t.cache.Spec.Storage.AccessModes, corev1.ReadWriteMany) {
		return nil, nil
	}
	var found []consumer
	for mount, err := range volume.Mounts(ctx, t.Live, t.cache.Namespace, t.cache.Name) {
		if err != nil {
			return nil, err
		}
		if p := mount.Pod; p.Spec.NodeName != "" && !podFinished(p) {
			lost := jobrun.Lost(p, t.Now)
			found = append(found, consumer{node: p.Spec.NodeName, runs: lost == "" && p.Status.Phase == corev1.PodRunning, lost: lost})
		}
	}
	return found, nil
}

func podFinished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// near is the consumer on whose node a writer is to run: the scheduler does not see
// where the volume is, and elsewhere the pod would wait for the consumers to end. It is
// empty if there is none. If it is lost, a writer can run nowhere: that node does not
// answer, and keeps the volume. Of several that are as good, one on the node that a Job
// is bound to is the nearest.
func near(consumers []consumer, bound string) consumer {
	silent := map[string]bool{}
	for _, c := range consumers {
		silent[c.node] = silent[c.node] || c.lost != ""
	}
	rank := func(c consumer) int {
		switch {
		case c.lost != "":
			return 2
		case silent[c.node]: // it is reported as it was
			return 0
		case c.runs:
			return 3
		}
		return 1
	}
	best := consumer{}
	for i, c := range consumers {
		better := cmp.Compare(rank(c), rank(best))
		if i == 0 || better > 0 || better == 0 && c.node == bound {
			best = c
		}
	}
	return best
}

// bind has a Job run where the volume is. It reports false if it can run nowhere, which
// is recorded.
func (t *turn) bind(ctx context.Context, action plan.Action, job *batchv1.Job) (bool, error) {
	consumers, err := t.consumers(ctx)
	if err != nil {
		return false, err
	}
	at := near(consumers, "")
	if at.lost != "" {
		t.wait(action, at.lost)
		t.out.WakeIn(pass.Interval) // no watch reports the pods of users
		return false, nil
	}
	podspec.Near(&job.Spec.Template.Spec, podspec.OnNode(at.node))
	return true, nil
}

// misplaced reports whether the writer is bound to a node that it would not be bound to
// now, and its pod does not go on there. A pod that has a node needs no other, unless
// another node has the volume.
func (t *turn) misplaced(ctx context.Context) (bool, error) {
	bound := podspec.NodeOf(&t.Writer.Spec.Template.Spec)
	if bound == "" {
		return false, nil
	}
	consumers, err := t.consumers(ctx)
	if err != nil {
		return false, err
	}
	now := near(consumers, bound)
	if now.node == bound && now.lost == "" {
		return false, nil
	}
	for pod, err := range jobrun.Pods(ctx, t.Live, t.Writer.Namespace, t.Writer.Name) {
		if err != nil || jobrun.Begun(pod) || pod.Spec.NodeName != "" && !now.runs {
			return false, err
		}
	}
	return true, nil
}
