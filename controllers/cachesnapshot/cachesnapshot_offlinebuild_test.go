package cachesnapshot

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/mounts"
)

// offlineBuildReport is the agent's report of a build that succeeded.
const offlineBuildReport = `{"outcome":"Succeeded","modules":3,"durationSeconds":2.5}`

func withOfflineBuild(s *v1alpha1.CacheSnapshotSpec) {
	s.Verification.OfflineBuild = &v1alpha1.OfflineBuild{ConfigMapRef: v1alpha1.LocalReference{Name: "program"}, Vendor: true}
}

func (w *world) program() {
	w.t.Helper()
	w.must(server.Client.Create(w.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "program"},
		Data:       map[string]string{"go.mod": "module example.com/program\n", "main.go": "package main\n\nfunc main() {}\n"},
	}))
}

// TestOfflineBuild checks that an Intact snapshot with an offline build test is
// offered only if the test succeeds, and that its verdict does not change.
func TestOfflineBuild(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ending          cluster.Ending
		outcome         v1alpha1.WorkOutcome
		attempts        int32
		reason, message string
	}{
		"builds":           {cluster.Ending{Message: offlineBuildReport}, v1alpha1.WorkSucceeded, 1, v1alpha1.ReasonIntact, "passed the offline build test in 2.5s"},
		"does not":         {cluster.Ending{Exit: 1, Message: `{"outcome":"Failed","step":"go build","message":"module lookup disabled"}`}, v1alpha1.WorkFailed, 1, v1alpha1.ReasonOfflineBuildFailed, "offline build test failed: go build: module lookup disabled"},
		"evicted":          {cluster.Ending{Evicted: true}, v1alpha1.WorkInconclusive, verification.MaxAttempts, v1alpha1.ReasonInconclusive, "the pod was disrupted"},
		"no report":        {cluster.Ending{Exit: 1, Message: "panic"}, v1alpha1.WorkInconclusive, verification.MaxAttempts, v1alpha1.ReasonInconclusive, "left no report"},
		"a full disk":      {cluster.Ending{Exit: 4, Message: `{"outcome":"Inconclusive","message":"no space left on device"}`}, v1alpha1.WorkInconclusive, verification.MaxAttempts, v1alpha1.ReasonInconclusive, "no space left"},
		"says both things": {cluster.Ending{Exit: 1, Message: offlineBuildReport}, v1alpha1.WorkInconclusive, verification.MaxAttempts, v1alpha1.ReasonInconclusive, "reported Succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endings(map[string]cluster.Ending{"verify": {Message: intactReport}, "offline-build": tt.ending})
			checks := w.cluster.Job
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				if job.Name == "s-offline-build" && meta.IsStatusConditionTrue(w.get().Status.Conditions, v1alpha1.VerifiedCondition) {
					t.Error("called verified before the offline build test")
				}
				return checks(job)
			}
			w.cache()
			w.program()
			w.snapshot(withOfflineBuild)
			w.settle()
			s := w.get()
			if d := s.Status.OfflineBuild; d == nil || d.Outcome != tt.outcome || d.Attempts != tt.attempts {
				t.Errorf("drill %+v", d)
			}
			w.ready(tt.reason, tt.message)
			if !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.VerifiedCondition) {
				t.Error("a drill changed the verdict")
			}
			if good := tt.outcome == v1alpha1.WorkSucceeded; meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.StalledCondition) == good {
				t.Errorf("conditions %+v", s.Status.Conditions)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if reported := w.reported(); !strings.Contains(reported, tt.message) && tt.outcome != v1alpha1.WorkSucceeded {
				t.Errorf("events do not say %q:\n%s", tt.message, reported)
			}
		})
	}
}

// TestOfflineBuildWaitsForItsProgram checks that a missing ConfigMap with the program
// is reported and waited for, and the image, mounts and command of the Job.
func TestOfflineBuildWaitsForItsProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{"verify": {Message: intactReport}, "offline-build": {Message: offlineBuildReport}})
	var pod *corev1.PodSpec
	checks := w.cluster.Job
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		if job.Name == "s-offline-build" {
			pod = job.Spec.Template.Spec.DeepCopy()
		}
		return checks(job)
	}
	w.cache()
	w.snapshot(withOfflineBuild)
	w.settle()
	w.stalled(v1alpha1.ReasonSourceNotFound, "ConfigMap program with key go.mod")
	w.program()
	w.settle()
	w.ready(v1alpha1.ReasonIntact, "passed the offline build test")
	c := pod.Containers[0]
	command := strings.Join(c.Command, " ")
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	mount := w.get().Status.Source.MountPath
	if c.Image != "go:1.26.8" || c.VolumeMounts[0].MountPath != mount || mount == "" || c.VolumeMounts[0].ReadOnly {
		t.Errorf("image %s, mounts %+v", c.Image, c.VolumeMounts)
	}
	if got, want := mounts.Shared(*pod), []string{"tools: agent install"}; !slices.Equal(got, want) {
		t.Errorf("the containers share %q, want %q", got, want)
	}
	if !strings.Contains(command, "offline-build") || !strings.Contains(command, "--vendor") || !strings.Contains(command, "--modcache "+mount+"/mod --buildcache "+mount+"/build") || env["GOPROXY"] != "off" {
		t.Errorf("command %s, environment %v", command, env)
	}
}
