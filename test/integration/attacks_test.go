package integration

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/gitserver"
)

// TestAttacks plays users against a running operator, each with exactly the
// rights that its scenario names. Each ends alike: other tenants lost nothing,
// no verdict was forged, and the object reports what was refused.
func TestAttacks(t *testing.T) {
	startManager(t, server.Namespace(t))
	t.Run("together", func(t *testing.T) {
		for name, attack := range map[string]func(*testing.T){
			"an editor names another tenant's volume":        namesAnotherVolume,
			"a runner creates the verification Job itself":   createsTheVerificationJob,
			"a runner replaces the verification Job":         replacesTheVerificationJob,
			"a runner adds a pod to the verification Job":    addsAPodToTheJob,
			"a runner creates the warm-up Job itself":        createsTheWarmUpJob,
			"a runner replaces the VolumeSnapshot":           replacesTheVolumeSnapshot,
			"a runner creates the intermediate PVC":          createsTheIntermediatePVC,
			"an editor writes a verdict into a status":       writesAVerdict,
			"an editor sends a Secret to a server of theirs": sendsASecretAway,
			"an editor mounts a Secret into their image":     mountsASecret,
			"a runner borrows another namespace's content":   borrowsContent,
			"a runner changes what a build gets":             changesABuild,
			"a runner plants a repository":                   plantsARepository,
			"an editor verifies less than the policy":        verifiesLess,
			"an editor runs a router without instances":      runsOnlyARouter,
			"an editor has a router compare guesses":         guessesAPassword,
			"a runner reports failed builds without end":     floodsWithReports,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				attack(t)
			})
		}
	})
	// The places are those of all namespaces: the others would not end in time.
	t.Run("an editor takes the places of all verifications", takesAllPlaces)
}

// namesAnotherVolume: the PersistentVolumeClaim of a suspended cache is replaced
// by one that names the volume of another namespace, and a restore is asked for.
func namesAnotherVolume(t *testing.T) {
	s := newStage(t)
	c := s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	s.verified(s.snapshot("good"))
	v := s.victim()
	edit(s, c, func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
	own := &corev1.PersistentVolumeClaim{ObjectMeta: s.meta("ci")}
	if err := s.attacker.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	s.waitFor("the cache's own PersistentVolumeClaim is gone", func() error {
		if err := s.read(own); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	s.create(s.attacker, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: "ci", Labels: map[string]string{
			v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(""), VolumeName: v.pv.Name,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	})
	edit(s, c, func(c *v1alpha1.GoCache) {
		c.Spec.Restore = &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "good"}}
		c.Spec.Suspend = false
	})
	defer v.lostNothing(s) // also when nothing is reported
	s.reports(c, func() []metav1.Condition { return c.Status.Conditions }, v.pv.Name)
}

// bound returns an error unless a PersistentVolumeClaim is bound.
func bound(s *stage, name string) error {
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: s.meta(name)}
	if err := s.read(pvc); err != nil {
		return err
	}
	if pvc.Status.Phase != corev1.ClaimBound {
		return fmt.Errorf("it is %s", pvc.Status.Phase)
	}
	return nil
}

// createsTheVerificationJob: a Job of the right name, labels and owner that
// reports Intact without looking at the volume is there before the operator's own.
func createsTheVerificationJob(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	o := s.snapshot("forged")
	eventually(t, "the snapshot is being taken", func() error {
		if err := s.read(o); err != nil {
			return err
		}
		if o.Status.StartTime == nil {
			return fmt.Errorf("its status is %+v", o.Status)
		}
		return nil
	})
	s.create(s.attacker, s.forgedVerification(o))
	s.jobs(onlyForgedIsIntact)
	s.refused(o)
}

// replacesTheVerificationJob: the operator's Job is deleted while it runs, and one
// of its name, labels and owner reports Intact.
func replacesTheVerificationJob(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	s.jobs(verificationsRun)
	o := s.snapshot("forged")
	forged := s.forgedVerification(o)
	own := &batchv1.Job{ObjectMeta: s.meta(forged.Name)}
	s.waitFor("the verification runs", func() error {
		if err := s.read(own); err != nil {
			return err
		}
		if own.Status.Active == 0 {
			return fmt.Errorf("it has no pod")
		}
		return nil
	})
	s.jobs(onlyForgedIsIntact)
	if err := s.attacker.Delete(t.Context(), own, client.PropagationPolicy(metav1.DeletePropagationBackground), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	s.create(s.attacker, forged)
	s.refused(o)
}

// forgedVerification is a Job that passes for the one that verifies a snapshot, by
// all that a user can write.
func (s *stage) forgedVerification(o *v1alpha1.CacheSnapshot) *batchv1.Job {
	labels := map[string]string{
		v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.SnapshotLabel: o.Name, v1alpha1.CacheLabel: "ci", v1alpha1.ActionLabel: "verification"}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.ns, Name: naming.Child(o.Name, naming.Verify), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(o, v1alpha1.GroupVersion.WithKind(v1alpha1.CacheSnapshotKind))},
		},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
				Name: "agent", Image: "attacker", Command: []string{"echo"}}}},
		}},
	}
}

// onlyForgedIsIntact lets the attacker's Jobs report Intact, and others Corrupt.
func onlyForgedIsIntact(j *batchv1.Job) *cluster.Ending {
	if j.Spec.Template.Spec.Containers[0].Image == "attacker" {
		return ends(reportIntact)(j)
	}
	return ends(reportCorrupt)(j)
}

// createsTheWarmUpJob: a Job of the writer's name, labels and owner is there
// before the operator's own, and reports a digest of content that no writer left.
func createsTheWarmUpJob(t *testing.T) {
	s := newStage(t, runner...)
	s.jobs(func(j *batchv1.Job) *cluster.Ending {
		if j.Spec.Template.Spec.Containers[0].Image == "attacker" {
			return &cluster.Ending{Message: `{"outcome":"Succeeded","goVersion":"go1.26.8 linux/amd64","modules":99,"manifestDigest":"sha256:ff"}`}
		}
		return &cluster.Ending{Message: `{"outcome":"Succeeded","goVersion":"go1.26.8 linux/amd64","modules":3,"manifestDigest":"sha256:aa"}`}
	})
	forged := func(owner *v1alpha1.GoCache) *batchv1.Job {
		labels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci", v1alpha1.ActionLabel: "warm-up"}
		return &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: s.ns, Name: naming.Child("ci", naming.Writer), Labels: labels,
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))},
			},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
					Name: "agent", Image: "attacker", Command: []string{"echo"}}}},
			}},
		}
	}
	c := s.cache(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true }) // so that the attacker is first
	s.create(s.attacker, forged(c))
	if _, err := s.cluster.Step(t.Context()); err != nil { // it ends at once
		t.Fatal(err)
	}
	edit(s, c, func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	s.waitFor("the cache is warmed", func() error {
		if err := s.read(c); err != nil {
			return err
		}
		if c.Status.ManifestDigest == "sha256:ff" || c.Status.Counts.Modules == 99 {
			t.Fatalf("a forged digest counts: %+v", c.Status)
		}
		if c.Status.ManifestDigest != "sha256:aa" || c.Status.WarmUp.Outcome != v1alpha1.RunSucceeded {
			return fmt.Errorf("its status is %+v", c.Status)
		}
		return nil
	})
	s.waitFor("the forged Job is reported", func() error {
		var events eventsv1.EventList
		if err := server.Client.List(t.Context(), &events, client.InNamespace(s.ns)); err != nil {
			return err
		}
		for i := range events.Items {
			if e := &events.Items[i]; e.Reason == "UntrustedJob" && e.Regarding.Name == "ci" {
				return nil
			}
		}
		return fmt.Errorf("none of %d events does", len(events.Items))
	})
}

// refused waits until a snapshot has a verdict, and holds that it is never
// Verified.
func (s *stage) refused(o *v1alpha1.CacheSnapshot) {
	s.Helper()
	s.waitFor(o.Name+" is judged", func() error {
		if err := s.is(o, v1alpha1.VerifiedCondition, metav1.ConditionTrue); err == nil {
			s.Fatalf("a forged verdict counts: %+v", o.Status)
		}
		return s.is(o, v1alpha1.VerifiedCondition, metav1.ConditionFalse)
	})
}

// addsAPodToTheJob: a second pod that names the verification Job as its
// controller reports Intact, and the Job's own pod reports Corrupt.
func addsAPodToTheJob(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	s.jobs(verificationsRun)
	o := s.snapshot("bad")
	var job batchv1.Job
	s.waitFor("the verification runs", func() error {
		job = batchv1.Job{ObjectMeta: s.meta(naming.Child(o.Name, naming.Verify))}
		if err := s.read(&job); err != nil {
			return err
		}
		if job.Status.Active == 0 {
			return fmt.Errorf("it has no pod")
		}
		return nil
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.ns, Name: job.Name + "-zzzzz",
			Labels:          map[string]string{batchv1.JobNameLabel: job.Name, batchv1.ControllerUidLabel: string(job.UID)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "attacker"}}},
	}
	s.create(s.attacker, pod)
	// The kubelet reports what the attacker's container wrote.
	pod.Status = corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", Image: "attacker", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: reportIntact}}}}}
	if err := server.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	s.jobs(ends(reportCorrupt))
	s.refused(o)
	if o.Status.Verification.Verdict != v1alpha1.VerdictCorrupt {
		t.Errorf("the next attempt, which has one pod, does not count: %+v", o.Status.Verification)
	}
}

// replacesTheVolumeSnapshot: another VolumeSnapshot takes the name of a verified
// one.
func replacesTheVolumeSnapshot(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	o := s.verified(s.snapshot("good"))
	csi := &snapshotv1.VolumeSnapshot{ObjectMeta: s.meta(o.Status.VolumeSnapshotName)}
	if err := s.read(csi); err != nil {
		t.Fatal(err)
	}
	if err := s.attacker.Delete(t.Context(), csi.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	forged := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: csi.Name, Labels: csi.Labels, OwnerReferences: csi.OwnerReferences},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("of-the-attacker")}},
	}
	s.waitFor("the VolumeSnapshot is replaced", func() error { return s.attacker.Create(t.Context(), forged.DeepCopy()) })
	pvc := s.consumer("by-name", v1alpha1.CacheSnapshotKind, "good")
	s.waitFor("the snapshot is lost", func() error { return s.is(o, v1alpha1.ReadyCondition, metav1.ConditionFalse) })
	s.reports(o, func() []metav1.Condition { return o.Status.Conditions }, csi.Name)
	// A second snapshot is verified and cloned meanwhile: the first had its time.
	s.verified(s.snapshot("another"))
	other := s.consumer("another", v1alpha1.CacheSnapshotKind, "another")
	s.waitFor("a clone of another snapshot is there", func() error { return bound(s, other.Name) })
	s.unbound(pvc)
}

// createsTheIntermediatePVC: the PersistentVolumeClaim through which a clone is
// made is there before the operator's own, with the attacker's content. Its class
// waits for a node, so that the operator has made none yet.
func createsTheIntermediatePVC(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	s.verified(s.snapshot("good"))
	evil := &snapshotv1.VolumeSnapshot{ObjectMeta: s.meta("evil"), Spec: snapshotv1.VolumeSnapshotSpec{
		Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("of-the-attacker")}}}
	s.create(s.attacker, evil)
	s.waitFor("the attacker's snapshot is ready", func() error {
		if err := s.read(evil); err != nil {
			return err
		}
		if evil.Status == nil || !ptr.Deref(evil.Status.ReadyToUse, false) {
			return fmt.Errorf("its status is %+v", evil.Status)
		}
		return nil
	})
	late := s.ns + "-late"
	s.create(server.Client, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: late}, Provisioner: env.Driver, VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)})
	pvc := s.consumer("data", v1alpha1.GoCacheKind, "ci", func(pvc *corev1.PersistentVolumeClaim) { pvc.Spec.StorageClassName = &late })
	forged := volume.IntermediatePVC{For: pvc, From: "good", Snapshot: "evil"}.Object()
	forged.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(pvc, corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))}
	s.create(s.attacker, forged)
	s.waitFor("the attacker's clone is used or removed", func() error {
		if err := s.read(forged); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	other := s.consumer("other", v1alpha1.GoCacheKind, "ci")
	s.waitFor("another PersistentVolumeClaim is filled", func() error { return bound(s, other.Name) })
	var volumes corev1.PersistentVolumeList
	if err := server.Client.List(t.Context(), &volumes); err != nil {
		t.Fatal(err)
	}
	for i := range volumes.Items {
		pv := &volumes.Items[i]
		if ref := pv.Spec.ClaimRef; ref != nil && ref.UID == pvc.UID && pv.Annotations[cluster.ContentAnnotation] == "evil" {
			t.Errorf("the attacker's content was handed over: %+v", pv)
		}
	}
}

// writesAVerdict: a user with the right to edit a CacheSnapshot may not write its status.
func writesAVerdict(t *testing.T) {
	s := newStage(t, runner...)
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	s.jobs(ends(reportCorrupt))
	o := s.snapshot("bad")
	s.refused(o)
	o.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.VerifiedCondition, Status: metav1.ConditionTrue, Reason: "Intact", LastTransitionTime: metav1.Now()}}
	if err := s.attacker.Status().Update(t.Context(), o); !apierrors.IsForbidden(err) {
		t.Errorf("an editor writes a status: %v", err)
	}
	s.refused(o)
}

// takesAllPlaces: more verifications than run at once in the whole cluster wait
// for a node that does not exist.
func takesAllPlaces(t *testing.T) {
	s, other := newStage(t), newStage(t)
	for _, s := range []*stage{s, other} {
		s.cache()
		s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	}
	s.jobs(verificationsRun)
	s.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no node matches"}}}
	defer s.deleteSnapshots() // the manager of the next test would have no place left
	var last *v1alpha1.CacheSnapshot
	for i := range 12 {
		last = s.snapshot(fmt.Sprintf("stuck-%02d", i))
	}
	s.waitFor("all places are asked for", func() error {
		var jobs batchv1.JobList
		if err := server.Client.List(t.Context(), &jobs, client.InNamespace(s.ns), client.HasLabels{v1alpha1.SnapshotLabel}); err != nil {
			return err
		}
		if err := s.read(last); err != nil {
			return err
		}
		if last.Status.CreationTime == nil || len(jobs.Items) == 0 {
			return fmt.Errorf("%d verifications began", len(jobs.Items))
		}
		return nil
	})
	other.verified(other.snapshot("good"))
}

// deleteSnapshots deletes the snapshots of a namespace, with their verifications.
func (s *stage) deleteSnapshots() {
	s.Helper()
	if err := server.Client.DeleteAllOf(s.Context(), &v1alpha1.CacheSnapshot{}, client.InNamespace(s.ns)); err != nil {
		s.Fatal(err)
	}
	s.waitFor("the snapshots are gone", func() error {
		var left v1alpha1.CacheSnapshotList
		if err := server.Client.List(s.Context(), &left, client.InNamespace(s.ns)); err != nil {
			return err
		}
		if len(left.Items) > 0 {
			return fmt.Errorf("%d are left", len(left.Items))
		}
		return nil
	})
}

// fromSecret is a variable whose value is the password in a Secret.
func fromSecret(name, secret string) v1alpha1.EnvVar {
	return v1alpha1.EnvVar{Name: name, ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: v1alpha1.SecretKeyReference{Name: secret, Key: "password"}}}
}

// mountsASecret: Secrets are named as the credentials of a proxy whose image, or
// whose upstream, is the attacker's.
func mountsASecret(t *testing.T) {
	s := newStage(t)
	s.create(server.Client, &corev1.Secret{ObjectMeta: s.meta("database"), StringData: map[string]string{"username": "app", "password": "of the database", "key": "x"}})
	s.create(server.Client, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: "upstream", Annotations: map[string]string{v1alpha1.HostsAnnotation: "proxy.corp.example"}},
		StringData: map[string]string{"username": "ci", "password": "of the proxy"},
	})
	for name, tt := range map[string]struct {
		secret, upstream string
		server           *v1alpha1.ProxyServer
	}{
		"own-image":    {"upstream", "https://proxy.corp.example", &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "evil.test/proxy", Port: ptr.To[int32](8080)}},
		"own-build":    {"upstream", "https://proxy.corp.example", &v1alpha1.ProxyServer{Image: "evil.test/gocache-proxy"}},
		"own-args":     {"upstream", "https://proxy.corp.example", &v1alpha1.ProxyServer{Args: []string{"--credentials-hosts", "evil.test", "--upstream", "https://evil.test"}}},
		"own-upstream": {"upstream", "https://evil.test", nil},
		"any-secret":   {"database", "https://evil.test", nil},
		"own-variable": {"database", "https://proxy.corp.example", &v1alpha1.ProxyServer{Env: []v1alpha1.EnvVar{fromSecret("GOPROXY", "database")}}},
	} {
		p := &v1alpha1.ModProxy{ObjectMeta: s.meta(name), Spec: v1alpha1.ModProxySpec{
			Instances: []v1alpha1.ProxyInstance{{Name: "blue", Server: tt.server, Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi"), StorageClassName: &s.ns}}},
			Upstream:  &v1alpha1.ProxyUpstream{Proxy: tt.upstream},
			PrivateModules: &v1alpha1.ProxyPrivateModules{
				PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"corp.example"}}, SecretRef: &v1alpha1.LocalReference{Name: tt.secret}},
		}}
		s.create(s.attacker, p)
		s.reports(p, func() []metav1.Condition { return p.Status.Conditions }, "Secret "+tt.secret)
		if c := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.StalledCondition); c == nil || c.Reason != v1alpha1.ReasonSecretRefused {
			t.Errorf("%s: Stalled is %+v", name, c)
		}
		set := &appsv1.StatefulSet{ObjectMeta: s.meta(naming.Child(name, "blue"))}
		s.waitFor("the instance of "+name+" is there", func() error { return s.read(set) })
		for _, v := range set.Spec.Template.Spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName == tt.secret {
				t.Errorf("%s: Secret %s is mounted: %+v", name, tt.secret, v)
			}
		}
		for _, e := range set.Spec.Template.Spec.Containers[0].Env {
			if e.ValueFrom != nil {
				t.Errorf("%s: variable %s is read from Secret %s: %+v", name, e.Name, tt.secret, e)
			}
		}
	}
}

// sendsASecretAway: a Secret that was made for another purpose is named as the
// credentials of a repository on the attacker's server.
func sendsASecretAway(t *testing.T) {
	s := newStage(t)
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var asked, stolen atomic.Int32
	evil := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			stolen.Add(1)
		}
		http.Error(w, "", http.StatusUnauthorized)
	}))
	evil.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	evil.StartTLS()
	defer evil.Close()
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: s.meta("database"), Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"username": "app", "password": "of the database"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: "git", Annotations: map[string]string{v1alpha1.HostsAnnotation: "git.example.com"}},
			StringData: map[string]string{"username": "ci", "password": "of another server"}},
	} {
		s.create(server.Client, secret)
	}
	s.create(s.attacker, &corev1.ConfigMap{ObjectMeta: s.meta("ca"), Data: map[string]string{"ca.crt": string(ca)}})
	trusted := &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "ca"}}
	source := func(url, secret string) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{ObjectMeta: s.meta("by-" + secret), Spec: v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}}}
		c.Spec.Storage.Size, c.Spec.Storage.StorageClassName = resource.MustParse("1Gi"), &s.ns
		c.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Git: &v1alpha1.GitSource{URL: url + "/a.git",
			SecretRef: &v1alpha1.LocalReference{Name: secret}}}}}
		return c
	}
	// An authority of theirs decides which server passes for the Secret's own host.
	vouched := source("https://git.example.com", "git")
	vouched.Spec.WarmUp.Sources[0].Git.TrustedCA = trusted
	if err := s.attacker.Create(t.Context(), vouched); !apierrors.IsInvalid(err) {
		t.Errorf("an authority of the attacker beside the credentials: %v", err)
	}
	p := &v1alpha1.ModProxy{ObjectMeta: s.meta("vouched"), Spec: v1alpha1.ModProxySpec{
		Instances: []v1alpha1.ProxyInstance{{Name: "blue", Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi"), StorageClassName: &s.ns}}},
		PrivateModules: &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.example.com"}},
			VersionControl: &v1alpha1.ProxyVersionControl{SecretRef: &v1alpha1.LocalReference{Name: "git"}, TrustedCA: trusted}},
	}}
	if err := s.attacker.Create(t.Context(), p); !apierrors.IsInvalid(err) {
		t.Errorf("an authority of the attacker beside the credentials of a proxy: %v", err)
	}
	if err := s.attacker.Create(t.Context(), source(strings.Replace(evil.URL, "https", "http", 1), "database")); !apierrors.IsInvalid(err) {
		t.Errorf("credentials over http: %v", err)
	}
	for _, secret := range []string{"database", "git"} {
		c := source(evil.URL, secret)
		s.create(s.attacker, c)
		s.reports(c, func() []metav1.Condition { return c.Status.Conditions }, v1alpha1.HostsAnnotation)
		if c := apimeta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition); c == nil || c.Reason != v1alpha1.ReasonSecretRefused {
			t.Errorf("with Secret %s: Stalled is %+v", secret, c)
		}
		var job batchv1.Job
		job.ObjectMeta = s.meta(naming.Child(c.Name, naming.Writer))
		if err := s.read(&job); !apierrors.IsNotFound(err) {
			t.Errorf("a Job mounts Secret %s: %v", secret, err)
		}
	}
	if asked.Load() != 0 || stolen.Load() != 0 {
		t.Errorf("the attacker's server was asked %d times, %d of them with credentials", asked.Load(), stolen.Load())
	}
}
