package gocache

import (
	"context"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	plan "gocache.dev/operator/internal/plan/writer"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/faults"
)

// forge creates a Job of the writer's name, labels and owner, as a user may who
// can create Jobs, that runs something else.
func (w *world) forge(action plan.Action) {
	w.t.Helper()
	c := w.get()
	labels := pass.Labels(c)
	labels[v1alpha1.ManagedByLabel], labels[v1alpha1.ActionLabel] = v1alpha1.ManagedByValue, string(action)
	annotations := map[string]string{}
	if exists[corev1.PersistentVolumeClaim](w, "ci") {
		pvc := get[corev1.PersistentVolumeClaim](w, "ci")
		annotations[v1alpha1.PVCUIDAnnotation], annotations[v1alpha1.VolumeAnnotation] = string(pvc.UID), pvc.Spec.VolumeName
	}
	w.must(server.Client.Create(w.t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "ci-writer", Labels: labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))},
		},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "forger"}}},
		}},
	}))
}

// TestForgedWriter holds that a Job that another client created under the
// name, the labels and the owner of the writer reports nothing, whatever its
// action: it is deleted, one event reports it, and the work goes on.
func TestForgedWriter(t *testing.T) {
	t.Parallel()
	for name, forged := range map[string]struct {
		action plan.Action
		report *cluster.Ending // nil: it goes on for ever
	}{
		"a warm-up":                {plan.WarmUp, ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 99, ManifestDigest: "sha256:forged"})},
		"a warm-up without an end": {plan.WarmUp, nil},
		"a cleanup":                {plan.Cleanup, &cluster.Ending{Message: `{"outcome":"Planned","plan":{"digest":"sha256:forged","entries":5,"bytes":5}}`}},
		"a check":                  {plan.Integrity, corrupt},
		"an unknown action":        {"dance", corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			own := w.cluster.Job
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				if job.Spec.Template.Spec.Containers[0].Image == "forger" {
					return forged.report
				}
				return own(job)
			}
			w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7, ManifestDigest: "sha256:aa"})
			w.cache()
			w.forge(forged.action) // before the operator's own
			w.step()
			w.settle()
			w.now = w.now.Add(60e9)
			w.forge(forged.action) // and while there is none
			w.step()
			w.settle()
			c := w.get()
			if c.Status.ManifestDigest != "sha256:aa" || c.Status.Counts.Modules != 3 || c.Status.WarmUp.Outcome != v1alpha1.RunSucceeded ||
				c.Status.Integrity != nil || c.Status.Cleanup != nil {
				t.Errorf("%+v", c.Status)
			}
			if exists[batchv1.Job](w, "ci-writer") {
				t.Error("the forged Job was not deleted")
			}
			events := w.newEvents()
			if strings.Count(events, "UntrustedJob") != 2 || !strings.Contains(events, "is not the one that the operator created (") ||
				strings.Count(events, "Warmed in") != 1 || strings.Contains(events, "99 module") {
				t.Errorf("events:\n%s", events)
			}
		})
	}
}

// statusRefused refuses all writes of a status, as when another client was first.
type statusRefused struct{ client.Client }

func (c statusRefused) Status() client.SubResourceWriter { return refusing{c.Client.Status()} }

type refusing struct{ client.SubResourceWriter }

func (refusing) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	return apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.GroupName, Resource: "gocaches"}, o.GetName(), errors.New("changed meanwhile"))
}

// TestForgedWriterIsReportedOnce holds that the deletion of a forged Job is reported
// also if the status of that pass could not be written: the next one finds no Job.
func TestForgedWriterIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.forge(plan.WarmUp)
	w.step()
	own := w.reconciler.Client
	w.reconciler.Client = statusRefused{own}
	for range 5 {
		if err := w.pass(); err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
	}
	if exists[batchv1.Job](w, "ci-writer") {
		t.Fatal("the forged Job was not deleted")
	}
	w.reconciler.Client = own
	w.settle()
	if events := w.newEvents(); strings.Count(events, "UntrustedJob") != 1 {
		t.Errorf("events:\n%s", events)
	}
}

// TestWriterOfACrash holds that a writer counts whose uid a crash has lost, and
// that it is not run twice.
func TestWriterOfACrash(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	first.cache()
	first.settle()
	at := 0
	for i, write := range first.mortal.Writes {
		if strings.Contains(write, "ci-writer") && at == 0 {
			at = i + 1
		}
	}
	w := newWorld(t)
	w.restart(faults.Point{Write: at, After: true})
	died := w.mortal
	w.cache()
	w.settle()
	c := w.get()
	if !died.Dead() || len(w.warmUps) != 1 || c.Status.WriterJobUID != c.Status.WarmUp.Run || c.Status.WarmUp.Outcome != v1alpha1.RunSucceeded {
		t.Errorf("died %v at %q; %d warm-ups; %+v", died.Dead(), died.Writes, len(w.warmUps), c.Status)
	}
	if events := w.newEvents(); strings.Contains(events, "UntrustedJob") {
		t.Errorf("events:\n%s", events)
	}
}
