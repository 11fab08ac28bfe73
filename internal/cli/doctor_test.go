package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clientsetfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/doctor"
	"gocache.dev/operator/internal/cli/status"
)

// clusterOf is a clientset whose API server has a version and serves APIs.
func clusterOf(t *testing.T, version string, groups ...string) *clientsetfake.Clientset {
	t.Helper()
	c := clientsetfake.NewClientset()
	d, ok := c.Discovery().(*fakediscovery.FakeDiscovery)
	if !ok {
		t.Fatal("no fake discovery")
	}
	d.FakedServerVersion = &apiversion.Info{GitVersion: version}
	for _, group := range groups {
		d.Resources = append(d.Resources, &metav1.APIResourceList{GroupVersion: group})
	}
	return c
}

var served = []string{"cache.gocache.dev/v1alpha1", "snapshot.storage.k8s.io/v1", "admissionregistration.k8s.io/v1"}

// admission are the admission policies of the operator, with their bindings.
func admission() (all []client.Object) {
	for _, name := range []string{"requests", "approvals", "unassigned-volumes", "unassigned-volumes-of-jobs", "images-of-jobs", "manager-volumes", "manager-snapshots"} {
		m := metav1.ObjectMeta{Name: "gocache-" + name}
		all = append(all, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: m}, &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: m, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: m.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		})
	}
	return all
}

// healthy are the objects of a cluster in which nothing is wrong.
func healthy() []client.Object {
	return append(admission(),
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "gocache-system", Name: "gocache-manager", Labels: map[string]string{"app.kubernetes.io/name": "gocache-operator", "app.kubernetes.io/version": "v0.1.0"}},
			Status:     appsv1.DeploymentStatus{AvailableReplicas: 1},
		},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}, Provisioner: "csi.example.com", AllowVolumeExpansion: ptr.To(true)},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.example.com"}},
		&snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Driver: "csi.example.com"},
	)
}

// answering is a client whose API server answers reviews of rights.
func answering(denied []string, objects ...client.Object) client.WithWatch {
	return interceptor.NewClient(clientOf(objects...), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if review, ok := o.(*authorizationv1.SelfSubjectAccessReview); ok {
				review.Status.Allowed = !slices.Contains(denied, review.Spec.ResourceAttributes.Verb)
				return nil
			}
			return c.Create(ctx, o, opts...)
		},
	})
}

func TestDoctor(t *testing.T) {
	a, out, _ := fakeApp(t, answering(nil, healthy()...), clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); err != nil {
		t.Errorf("a cluster in which nothing is wrong: %v", err)
	}
	golden(t, "doctor-healthy.txt", out.String())

	growing := &v1alpha1.GoCache{ObjectMeta: meta("growing", time.Hour)}
	growing.Spec.Storage.StorageClassName, growing.Spec.Storage.Growth = ptr.To("slow"), &v1alpha1.StorageGrowth{}
	lost := &v1alpha1.GoCache{ObjectMeta: meta("lost", time.Hour)}
	lost.Spec.Storage.StorageClassName = ptr.To("nosuch")
	suspended := &v1alpha1.GoCache{ObjectMeta: meta("suspended", time.Hour)}
	suspended.Status.Conditions = []metav1.Condition{condition(v1alpha1.SuspendedCondition, metav1.ConditionTrue, v1alpha1.ReasonSuspended, "spec.suspend is set")}
	deny := &networkingv1.NetworkPolicy{ObjectMeta: meta("deny", time.Hour), Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}}}
	objects := append(world(), growing, lost, suspended, deny,
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "slow"}, Provisioner: "slow.example.com"},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "slow.example.com"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}, Provisioner: "local.example.com"},
	)
	a, out, _ = fakeApp(t, answering([]string{"approve", "reinstate"}, objects...), clusterOf(t, "v1.29.3", served...))
	if err := run(t, a, "doctor"); !errors.Is(err, ErrReported) {
		t.Errorf("a cluster in which much is wrong: %v", err)
	}
	golden(t, "doctor.txt", out.String())
	page, err := os.ReadFile("../../docs/operate/kubectl-plugin.md")
	if err != nil || !strings.Contains(string(page), "$ kubectl gocache doctor\n"+out.String()+"```\n") {
		t.Errorf("docs/operate/kubectl-plugin.md does not show testdata/doctor.txt: %v", err)
	}

	a, out, _ = fakeApp(t, answering(nil), clusterOf(t, "v1.36.0"))
	err = run(t, a, "doctor", "-o", "json")
	var report doctor.Report
	if !errors.Is(err, ErrReported) || json.Unmarshal(out.Bytes(), &report) != nil || len(report.Sections) != 4 || report.Sections[0].Findings[1].Level != status.LevelFailure {
		t.Errorf("a cluster without the operator: %v\n%s", err, out)
	}
	a, _, _ = fakeApp(t, answering(nil), clusterOf(t, "v1.36.0"))
	if err := run(t, a, "doctor", "-o", "wide"); err == nil || errors.Is(err, ErrReported) {
		t.Errorf("an unknown format: %v", err)
	}
}

// TestDoctorWithoutRights examines what the user may read.
func TestDoctorWithoutRights(t *testing.T) {
	c := interceptor.NewClient(clientOf(), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return nil },
		List: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, _ ...client.ListOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "all"}, "", nil)
		},
	})
	a, out, _ := fakeApp(t, c, clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); err != nil || strings.Count(out.String(), "you may not read them") != 5 || strings.Contains(out.String(), "✗") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDoctorBeforeInstallation reports what a cluster has without the operator, also one
// that is too old to serve its admission policies.
func TestDoctorBeforeInstallation(t *testing.T) {
	c := interceptor.NewClient(answering(nil, storageClass()[0]), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			switch list.(type) {
			case *v1alpha1.GoCacheList, *admissionv1.ValidatingAdmissionPolicyList, *admissionv1.ValidatingAdmissionPolicyBindingList:
				return &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "All"}}
			}
			return c.List(ctx, list, opts...)
		},
	})
	a, out, _ := fakeApp(t, c, clusterOf(t, "v1.29.3", served[1:]...))
	err := run(t, a, "doctor")
	if !errors.Is(err, ErrReported) || strings.Contains(out.String(), "can be examined") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"✗ Kubernetes v1.29.3 is too old", "✗ cache.gocache.dev/v1alpha1 is not served", "⚠ the cluster has no default StorageClass", "✓ none denies all traffic"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
}

// TestDoctorUnusedClass only warns of a default class that no cache uses.
func TestDoctorUnusedClass(t *testing.T) {
	objects := slices.DeleteFunc(healthy(), func(o client.Object) bool {
		_, driver := o.(*storagev1.CSIDriver)
		return driver
	})
	a, out, _ := fakeApp(t, answering(nil, objects...), clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); err != nil || !strings.Contains(out.String(), "⚠ StorageClass fast: no CSI driver") {
		t.Errorf("%v\n%s", err, out)
	}
	elsewhere := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	elsewhere.Spec.Storage.StorageClassName = ptr.To("other")
	objects = append(objects, elsewhere, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "other.example.com"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "other.example.com"},
		&snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Driver: "other.example.com"})
	a, out, _ = fakeApp(t, answering(nil, objects...), clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); err != nil || strings.Contains(out.String(), "StorageClass fast") || !strings.Contains(out.String(), "✓ StorageClass other") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDoctorNetwork judges NetworkPolicies by whether something is allowed.
func TestDoctorNetwork(t *testing.T) {
	allow := &networkingv1.NetworkPolicy{ObjectMeta: meta("allow", time.Hour), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}}}},
	}}
	deny := &networkingv1.NetworkPolicy{ObjectMeta: meta("deny", time.Hour), Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}}}
	for _, c := range []struct {
		policies []client.Object
		want     string
	}{
		{nil, "✓ none denies"},
		{[]client.Object{allow}, "✓ none denies"},
		{[]client.Object{deny}, "✗ NetworkPolicy deny denies all Egress"},
		{[]client.Object{deny, allow}, "⚠ NetworkPolicy deny denies all Egress"},
	} {
		a, out, _ := fakeApp(t, answering(nil, append(healthy(), c.policies...)...), clusterOf(t, "v1.36.0", served...))
		err := run(t, a, "doctor")
		if !strings.Contains(out.String(), c.want) || (err != nil) != strings.HasPrefix(c.want, "✗") {
			t.Errorf("want %s: %v\n%s", c.want, err, out)
		}
	}
}

// TestDoctorLostVolume keeps a lost volume a failure.
func TestDoctorLostVolume(t *testing.T) {
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("ci", time.Hour), Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimLost}}
	a, out, _ := fakeApp(t, answering(nil, append(healthy(), cache, claim)...), clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); !errors.Is(err, ErrReported) || !strings.Contains(out.String(), "✗ PVC ci is Lost") {
		t.Errorf("%v\n%s", err, out)
	}
}
