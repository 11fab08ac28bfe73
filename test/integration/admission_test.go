package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestVolumesStayInTheirNamespace holds that the API server itself refuses what
// the operator must never do to a PersistentVolume, and allows what it does: the
// policy of config/default, played by the operator's own service account.
func TestVolumesStayInTheirNamespace(t *testing.T) {
	for _, o := range kustomize(t, "default") {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	manager := serviceAccount(t, "gocache-system", "gocache-manager", volumes("patch", "delete", "get"))
	other := serviceAccount(t, "kube-system", "some-provisioner", volumes("patch", "delete", "get"))
	ns := server.Namespace(t)
	_, pv, err := cluster.BoundVolume(t.Context(), server.Client, ns, "data")
	if err != nil {
		t.Fatal(err)
	}
	patch := func(c client.Client, text string) error {
		return c.Patch(t.Context(), pv.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text)), client.DryRunAll)
	}
	steal := `{"spec":{"claimRef":{"namespace":"elsewhere","name":"mine","uid":null}}}`
	// The API server compiles a new policy in the background.
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return patch(manager, steal) != nil, nil
	})
	if err != nil {
		t.Fatal("the operator may move a volume to another namespace")
	}
	for name, text := range map[string]string{"moved": steal, "released": `{"spec":{"claimRef":null}}`} {
		if err := patch(manager, text); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || err == nil || !strings.Contains(err.Error(), "stays with the namespace") {
			t.Errorf("%s: %v, want a refusal that says why", name, err)
		}
	}
	if err := manager.Delete(t.Context(), pv.DeepCopy(), client.DryRunAll); err == nil || !strings.Contains(err.Error(), "does not delete PersistentVolumes") {
		t.Errorf("deleted: %v, want a refusal that says why", err)
	}
	for name, text := range map[string]string{
		"reserved in its namespace": `{"spec":{"claimRef":{"name":"data-previous","uid":null,"resourceVersion":null}}}`,
		"secured":                   `{"metadata":{"annotations":{"a":"b"}},"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`,
	} {
		if err := patch(manager, text); err != nil {
			t.Errorf("%s: %v, want it allowed", name, err)
		}
	}
	if err := patch(other, steal); err != nil {
		t.Errorf("another service account is refused too: %v", err)
	}
}

// TestContentsOfTheOperator asserts that the API server itself refuses the operator
// every VolumeSnapshotContent but those that carry a snapshot into another
// namespace: with one VolumeSnapshot, by uid, and a CSI snapshot that stays.
func TestContentsOfTheOperator(t *testing.T) {
	for _, o := range kustomize(t, "default") {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	rule := rbacv1.PolicyRule{
		APIGroups: []string{snapshotv1.GroupName}, Resources: []string{"volumesnapshotcontents"}, Verbs: []string{"create", "delete", "get", "patch"},
	}
	manager := serviceAccount(t, "gocache-system", "gocache-manager", rule)
	other := serviceAccount(t, "kube-system", "snapshot-controller", rule)
	content := func(change ...func(*snapshotv1.VolumeSnapshotContent)) *snapshotv1.VolumeSnapshotContent {
		c := &snapshotv1.VolumeSnapshotContent{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{
				"app.kubernetes.io/managed-by": "gocache-operator", "cache.gocache.dev/intermediate-for": "uid"}},
			Spec: snapshotv1.VolumeSnapshotContentSpec{
				Driver: "test.csi.gocache.dev", DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain,
				Source:            snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: ptr.To("handle")},
				VolumeSnapshotRef: corev1.ObjectReference{Namespace: "builds", Name: "a", UID: "uid"},
			},
		}
		for _, f := range change {
			f(c)
		}
		return c
	}
	changes := map[string]func(*snapshotv1.VolumeSnapshotContent){
		"without a label":        func(c *snapshotv1.VolumeSnapshotContent) { c.Labels = nil },
		"with one of the labels": func(c *snapshotv1.VolumeSnapshotContent) { delete(c.Labels, "cache.gocache.dev/intermediate-for") },
		"with deletion policy Delete": func(c *snapshotv1.VolumeSnapshotContent) {
			c.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete
		},
		"for any VolumeSnapshot": func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.VolumeSnapshotRef.UID = "" },
		"of a volume, not of a snapshot": func(c *snapshotv1.VolumeSnapshotContent) {
			c.Spec.Source = snapshotv1.VolumeSnapshotContentSource{VolumeHandle: ptr.To("volume")}
		},
	}
	create := func(c client.Client, change func(*snapshotv1.VolumeSnapshotContent)) error {
		return c.Create(t.Context(), content(change), client.DryRunAll)
	}
	// The API server compiles a new policy in the background.
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return create(manager, changes["without a label"]) != nil, nil
	})
	if err != nil {
		t.Fatal("the operator may create any VolumeSnapshotContent")
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the operator") {
			t.Errorf("%s: %v, want a refusal that explains itself", what, err)
		}
	}
	for name, change := range changes {
		refused("created "+name, create(manager, change))
		if err := create(other, change); err != nil {
			t.Errorf("created %s by another service account: %v", name, err)
		}
	}
	own, foreign := content(), content(changes["without a label"])
	if err := manager.Create(t.Context(), own); err != nil {
		t.Fatalf("what the operator creates is refused: %v", err)
	}
	if err := other.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	refused("deleted another's", manager.Delete(t.Context(), foreign.DeepCopy(), client.DryRunAll))
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
	refused("changed", manager.Patch(t.Context(), own.DeepCopy(), patch, client.DryRunAll))
	if err := manager.Delete(t.Context(), own); err != nil {
		t.Errorf("the operator may not delete its own: %v", err)
	}
	if err := other.Delete(t.Context(), foreign); err != nil {
		t.Error(err)
	}
}

// TestUnassignedVolumes asserts that the API server refuses a runner, and the workloads
// that a runner can create, each pod that mounts a volume of a pool, an intermediate PVC
// or a clone that is verified, and allows the operator the Job that reads one.
func TestUnassignedVolumes(t *testing.T) {
	installPolicies(t)
	ns := server.Namespace(t)
	rights := rbacv1.PolicyRule{
		APIGroups: []string{"", "batch"}, Resources: []string{"pods", "jobs", "pods/ephemeralcontainers"}, Verbs: []string{"create", "get", "update"}}
	runner := serviceAccount(t, ns, "runner", rights)
	manager := serviceAccount(t, "gocache-system", "gocache-manager", rights)
	jobs := serviceAccount(t, "kube-system", "job-controller", rights)
	sets := serviceAccount(t, "kube-system", "replicaset-controller", rights)
	cronJobs := serviceAccount(t, "kube-system", "cronjob-controller", rights)
	all := userWith(t, "system:kube-controller-manager", rights) // of a cluster whose controllers are one user
	template := func(claim string) corev1.PodSpec {
		return corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "other"}, {Name: "v", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
		}
	}
	pod := func(as client.Client, claim string, owner ...metav1.OwnerReference) error {
		return as.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p", OwnerReferences: owner}, Spec: template(claim)}, client.DryRunAll)
	}
	controlledBy := func(group, kind string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: group + "/v1", Kind: kind, Name: "o", UID: "u", Controller: ptr.To(true)}
	}
	// A pod mounts the PVC whose name is that of the pod and that of the volume.
	ephemeral := func(as client.Client, claim string) error {
		name, suffix, _ := strings.Cut(claim, "-")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: template("")}
		p.Spec.Volumes = []corev1.Volume{{Name: suffix, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			}}}}}}
		return as.Create(t.Context(), p, client.DryRunAll)
	}
	job := func(as client.Client, claim string) error {
		return as.Create(t.Context(), &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "j"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: template(claim)}}}, client.DryRunAll)
	}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{UID: uuid.NewUUID()}}
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{UID: uuid.NewUUID()}}
	unassigned := []string{pool.Name(cache, 0), pool.Name(cache, 15), volume.IntermediateName(pvc.UID)}
	for _, suffix := range []string{naming.Verify, naming.Reverify, naming.Reference} {
		unassigned = append(unassigned, naming.Clone(string(uuid.NewUUID()), suffix))
	}
	// The API server compiles a new policy in the background.
	eventually(t, "the policies apply", func() error {
		for _, err := range []error{pod(runner, unassigned[0]), job(runner, unassigned[0])} {
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "about to be given") {
				return fmt.Errorf("a pod or a Job of a runner: %w", orNone(err))
			}
		}
		return nil
	})
	for _, claim := range unassigned {
		for what, err := range map[string]error{
			"a pod of a runner": pod(runner, claim), "a pod of a ReplicaSet": pod(sets, claim), "a pod of the operator": pod(manager, claim),
			"a Job of a runner": job(runner, claim), "a Job of a CronJob": job(cronJobs, claim),
			"a pod of a StatefulSet, of one user": pod(all, claim, controlledBy("apps", "StatefulSet")), "a pod of one user": pod(all, claim),
			"a volume of a pod of a runner": ephemeral(runner, claim),
		} {
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "is about to be given to the PVC of a build") {
				t.Errorf("%s with PVC %s: %v, want a refusal that says why", what, claim, err)
			}
		}
	}
	reader := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "reader"}, Spec: template(unassigned[0])}
	if err := jobs.Create(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	reader.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "d", Image: "i", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}}}}
	if err := runner.SubResource("ephemeralcontainers").Update(t.Context(), reader); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "about to be given") {
		t.Errorf("a container more in the pod that reads: %v, want a refusal that says why", err)
	}
	for what, err := range map[string]error{
		"the Job of the operator": job(manager, unassigned[0]), "its pod": pod(jobs, unassigned[0]),
		"its pod, of one user": pod(all, unassigned[0], controlledBy("batch", "Job")), "a volume of a build": ephemeral(runner, "pool-party"),
		"a pod of a StatefulSet": pod(runner, "data-pool-0"), "the pod of a build": pod(runner, "pool-party"), "the Job of a build": job(runner, "intermediate-0"),
		"a pod without volumes": runner.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}, client.DryRunAll),
	} {
		if err != nil {
			t.Errorf("%s: %v, want it allowed", what, err)
		}
	}
}

// TestImagesOfJobs holds that the API server refuses to change the image of a pod of the
// operator's Jobs, also in steps: its report would be that of another program, and the
// pod would show nothing of that once the image is changed back.
func TestImagesOfJobs(t *testing.T) {
	for _, o := range kustomize(t, "default") {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	ns := server.Namespace(t)
	runner := server.Tenant(t, ns, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}})
	labels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ActionLabel: "verification"}
	pod := func(name string, labels map[string]string) *corev1.Pod {
		t.Helper()
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels},
			Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{{Name: "fetch", Image: "operator"}}, Containers: []corev1.Container{{Name: "agent", Image: "operator"}},
			},
		}
		if err := server.Client.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	patch := func(p *corev1.Pod, text string) error {
		return runner.Patch(t.Context(), p.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(text)), client.DryRunAll)
	}
	const image, initImage = `{"spec":{"containers":[{"name":"agent","image":"evil"}]}}`, `{"spec":{"initContainers":[{"name":"fetch","image":"evil"}]}}`
	ours, other := pod("ours", labels), pod("other", nil)
	eventually(t, "the policy applies", func() error {
		if err := patch(ours, image); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the image is changed: %w", orNone(err))
		}
		return nil
	})
	for what, refused := range map[string]struct {
		pod  *corev1.Pod
		text string
	}{
		"the image":                 {ours, image},
		"that of an init container": {ours, initImage},
		"no label any more":         {ours, `{"metadata":{"labels":null}}`},
		"another operator's":        {ours, `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"me"}}}`},
		"another action":            {ours, `{"metadata":{"labels":{"cache.gocache.dev/action":"none"}}}`},
		"labels that come later": {other,
			`{"metadata":{"labels":{"app.kubernetes.io/managed-by":"gocache-operator","cache.gocache.dev/action":"verification"}},"spec":{"containers":[{"name":"agent","image":"evil"}]}}`},
		"labels alone that come later": {other, `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"gocache-operator","cache.gocache.dev/action":"verification"}}}`},
	} {
		if err := patch(refused.pod, refused.text); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "of a Job of the operator") {
			t.Errorf("%s: %v, want a refusal that says why", what, err)
		}
	}
	for what, allowed := range map[string]error{
		"a label, a finalizer and a deadline": patch(ours, `{"metadata":{"labels":{"a":"b"},"finalizers":["a.b/c"]},"spec":{"activeDeadlineSeconds":5}}`),
		"the image of a pod of others":        patch(other, image),
		"a status":                            server.Client.Status().Update(t.Context(), ours),
		"the end":                             runner.Delete(t.Context(), ours),
	} {
		if allowed != nil {
			t.Errorf("%s: %v, want it allowed", what, allowed)
		}
	}
	// The signs that the operator looks for where the policy is not installed.
	if ours.Generation != 1 {
		t.Errorf("a new pod has the generation %d", ours.Generation)
	}
	for i, change := range []string{`"image":"evil"`, `"image":"operator"`} {
		if err := runner.Patch(t.Context(), other, client.RawPatch(types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"agent",`+change+`}]}}`))); err != nil {
			t.Fatal(err)
		}
		if other.Generation != int64(i+2) {
			t.Errorf("after %d changes the pod has the generation %d", i+1, other.Generation)
		}
	}
}

// jobController creates the pods of Jobs: of no other are they accepted that mount a volume
// that is checked.
func jobController(t *testing.T) client.Client {
	t.Helper()
	return serviceAccount(t, "kube-system", "job-controller", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}})
}

func volumes(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{corev1.GroupName}, Resources: []string{"persistentvolumes"}, Verbs: verbs}
}

// serviceAccount is a client with a right to objects that have no namespace.
func serviceAccount(t *testing.T, namespace, name string, rule rbacv1.PolicyRule) client.Client {
	t.Helper()
	return userWith(t, "system:serviceaccount:"+namespace+":"+name, rule)
}

// userWith is a client of a user with a right.
func userWith(t *testing.T, user string, rule rbacv1.PolicyRule) client.Client {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		Rules:      []rbacv1.PolicyRule{rule},
	}
	if err := server.Client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if err := server.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	c, err := client.New(config, client.Options{Scheme: server.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
