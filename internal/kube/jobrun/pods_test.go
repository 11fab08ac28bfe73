package jobrun_test

import (
	"context"
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/jobrun"
)

var errList = errors.New("the server is down")

// unlistable is a reader whose lists fail.
func unlistable() client.Reader {
	return fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return errList },
	}).Build()
}

// podOf is a pod of a Job, under labels of the Job's owner.
func podOf(namespace, name, job string, labels map[string]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{batchv1.JobNameLabel: job}}}
	for k, v := range labels {
		p.Labels[k] = v
	}
	return p
}

func TestPods(t *testing.T) {
	live := fake.NewClientBuilder().WithObjects(
		podOf("n", "j-1", "j", nil), podOf("n", "j-2", "j", nil), podOf("n", "k-1", "k", nil), podOf("other", "j-3", "j", nil),
	).Build()
	for job, want := range map[string]int{"j": 2, "k": 1, "l": 0} {
		is := 0
		for pod, err := range jobrun.Pods(t.Context(), live, "n", job) {
			if is++; err != nil || pod.Labels[batchv1.JobNameLabel] != job {
				t.Errorf("Job %s: %v, %v", job, pod, err)
			}
		}
		if is != want {
			t.Errorf("Job %s: %d pods, want %d", job, is, want)
		}
	}
}

func TestAnyPods(t *testing.T) {
	ours := map[string]string{"owner": "ci"}
	live := fake.NewClientBuilder().WithObjects(
		podOf("n", "j-1", "j", map[string]string{"owner": "ci", "more": "x"}), podOf("n", "k-1", "k", map[string]string{"owner": "other"}), podOf("other", "l-1", "l", ours),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "no-job", Labels: ours}},
	).Build()
	for _, tt := range []struct {
		name string
		jobs []string
		want bool
	}{
		{"one of the Jobs has a pod", []string{"i", "j"}, true},
		{"no such Job", []string{"i"}, false},
		{"another owner's Job", []string{"k"}, false},
		{"another namespace's Job", []string{"l"}, false},
	} {
		if got, err := jobrun.AnyPods(t.Context(), live, "n", ours, tt.jobs...); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	if got, err := jobrun.AnyPods(t.Context(), live, "n", ours); err == nil {
		t.Errorf("pods of no Job: %v, and no error", got)
	}
}

// TestListFails holds that a list that fails is never taken for "no pods": an
// outcome would count as lost, or a volume as free.
func TestListFails(t *testing.T) {
	live := unlistable()
	failed := false
	for pod, err := range jobrun.Pods(t.Context(), live, "n", "j") {
		if failed = true; pod != nil || !errors.Is(err, errList) {
			t.Errorf("Pods: %v, %v", pod, err)
		}
	}
	if !failed {
		t.Error("Pods: none, and no error")
	}
	if got, err := jobrun.AnyPods(t.Context(), live, "n", nil, "j"); !errors.Is(err, errList) {
		t.Errorf("AnyPods: %v, %v", got, err)
	}
	ended := job(batchv1.JobComplete, "", "")
	o, err := jobrun.Observe(t.Context(), live, ended)
	if !errors.Is(err, errList) || o.Cause != "" || o.Conclusive() {
		t.Errorf("Observe: %+v, %v", o, err)
	}
	text, err := jobrun.Hindrance(t.Context(), live, job("", "", ""), jobrun.Outcome{Phase: jobrun.Running, Started: began.Time}, began.Add(time.Hour))
	if !errors.Is(err, errList) || text != "" {
		t.Errorf("Hindrance: %q, %v", text, err)
	}
	// What needs no list does not fail.
	for name, j := range map[string]*batchv1.Job{"no Job": nil, "it runs": job("", "", "")} {
		if _, err := jobrun.Observe(t.Context(), live, j); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
