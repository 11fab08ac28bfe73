package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clientsetfake "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/status"
)

var (
	errBroken = errors.New("the server is down")
	forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "all"}, "", nil)
	// errUnserved is the error for a kind that the API server does not serve.
	errUnserved = fmt.Errorf("no list: %w", &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "All"}})
)

const driver = "csi.test"

// examined is an examination of a cluster with these objects, in which the user may do
// all but the denied verbs.
func examined(t *testing.T, funcs interceptor.Funcs, denied []string, objects ...client.Object) examination {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	if funcs.Create == nil {
		funcs.Create = func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review, is := o.(*authorizationv1.SelfSubjectAccessReview)
			if !is {
				return fmt.Errorf("%T was created", o)
			}
			review.Status.Allowed = !slices.Contains(denied, review.Spec.ResourceAttributes.Verb)
			return nil
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return examination{Options: Options{Namespace: "ci", OperatorNamespace: "system", Progress: func(string) {}}, client: c}
}

// listing fails for lists of one type.
func listing[T client.ObjectList](err error) interceptor.Funcs {
	return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(T); is {
			return err
		}
		return c.List(ctx, list, opts...)
	}}
}

// found are findings, one a line.
func found(all []Finding) string {
	var lines []string
	for _, f := range all {
		lines = append(lines, strings.TrimSuffix(string(f.Level)+" "+f.Message+" | "+f.Fix, " | "))
	}
	return strings.Join(lines, "\n")
}

// discovered is a cluster of a version that serves these APIs.
func discovered(t *testing.T, version string, groups ...string) *fakediscovery.FakeDiscovery {
	t.Helper()
	d, is := clientsetfake.NewClientset().Discovery().(*fakediscovery.FakeDiscovery)
	if !is {
		t.Fatal("no fake discovery")
	}
	d.FakedServerVersion = &apiversion.Info{GitVersion: version}
	for _, group := range groups {
		d.Resources = append(d.Resources, &metav1.APIResourceList{GroupVersion: group})
	}
	return d
}

// TestCluster holds what is found about the version of a cluster, and the APIs that it
// serves.
func TestCluster(t *testing.T) {
	const crd = "Failure snapshot.storage.k8s.io/v1 is not served | kubectl apply -k 'https://github.com/kubernetes-csi/external-snapshotter/client/config/crd'"
	for version, want := range map[string]string{
		"v1.36.1": "OK Kubernetes v1.36.1", "v1.30.0": "OK Kubernetes v1.30.0", "v1.29.9": "Failure Kubernetes v1.29.9 is too old: 1.30.0 or newer is needed | kubectl version",
		"new": "Warning Kubernetes has a version that cannot be read: new | kubectl version",
	} {
		e := examination{discovery: discovered(t, version, "cache.gocache.dev/v1alpha1", "snapshot.storage.k8s.io/v1beta1", "admissionregistration.k8s.io/v1")}
		served, findings, err := e.cluster()
		want = want + "\nOK cache.gocache.dev/v1alpha1 is served\n" + crd + "\nOK admissionregistration.k8s.io/v1 is served"
		if err != nil || found(findings) != want || !served["cache.gocache.dev"] || served["snapshot.storage.k8s.io"] {
			t.Errorf("%s: %v, %v\n%s", version, served, err, found(findings))
		}
	}
	e := examination{discovery: discovered(t, "v1.36.1")}
	if served, findings, err := e.cluster(); err != nil || served["cache.gocache.dev"] || !strings.Contains(found(findings), "Failure cache.gocache.dev/v1alpha1 is not served | kubectl apply --server-side -f install.yaml") ||
		!strings.HasSuffix(found(findings), "Failure admissionregistration.k8s.io/v1 is not served") {
		t.Errorf("%v, %v\n%s", served, err, found(findings))
	}
}

// TestExamine holds which subjects are examined of a cluster, in their order, and that one
// that cannot be examined keeps no other from it.
func TestExamine(t *testing.T) {
	all := []string{"cache.gocache.dev/v1alpha1", "snapshot.storage.k8s.io/v1", "admissionregistration.k8s.io/v1"}
	for want, groups := range map[string][]string{
		"Cluster, Operator, Storage, Your rights in namespace ci, Network policies in namespace ci, Objects in namespace ci": all,
		"Cluster, Operator, Your rights in namespace ci, Network policies in namespace ci, Objects in namespace ci":          all[:1],
		"Cluster, Operator, Storage, Your rights in namespace ci, Network policies in namespace ci":                          all[1:2],
	} {
		e := examined(t, interceptor.Funcs{}, nil)
		var began []string
		e.Progress = func(text string) { began = append(began, text) }
		report, err := Examine(t.Context(), e.client, discovered(t, "v1.36.1", groups...), e.Options)
		var names []string
		for _, s := range report.Sections {
			names = append(names, s.Name)
			if len(s.Findings) == 0 {
				t.Errorf("%s has no finding", s.Name)
			}
		}
		if err != nil || strings.Join(names, ", ") != want || !slices.Equal(began, names) || len(names) > Subjects {
			t.Errorf("%q, began %q, %v, want %s", names, began, err, want)
		}
	}
	e := examined(t, listing[*admissionv1.ValidatingAdmissionPolicyBindingList](errBroken), nil)
	report, err := Examine(t.Context(), e.client, discovered(t, "v1.36.1", all...), e.Options)
	if err != nil || len(report.Sections) != Subjects || !report.Failed() {
		t.Fatalf("%v, %d sections", err, len(report.Sections))
	}
	want := "Failure the operator is not installed in namespace system (--operator-namespace names another) | kubectl apply --server-side -f install.yaml\n" +
		"Failure not all of this can be examined: the server is down | kubectl get --raw '/readyz?verbose'"
	if got := found(report.Sections[1].Findings); got != want {
		t.Errorf("a subject that cannot be examined:\n got %s\nwant %s", got, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Examine(ended, e.client, discovered(t, "v1.36.1", all...), e.Options); !errors.Is(err, context.Canceled) {
		t.Errorf("an interruption: %v", err)
	}
	// Neither the operator nor its kinds are there before the installation.
	e = examined(t, listing[*v1alpha1.GoCacheList](errUnserved), nil)
	report, err = Examine(t.Context(), e.client, discovered(t, "v1.36.1", all[1:]...), e.Options)
	if err != nil || len(report.Sections) != 5 || strings.Contains(found(report.Sections[2].Findings), "Failure") {
		t.Errorf("before the installation: %v, %+v", err, report)
	}
}

// TestOperator holds what is found about the operator itself.
func TestOperator(t *testing.T) {
	deployment := func(namespace string, available int32) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "manager", Labels: map[string]string{"app.kubernetes.io/name": "gocache-operator", "app.kubernetes.io/version": "v1"}}}
		d.Spec.Replicas = new(int32(3))
		d.Status.AvailableReplicas = available
		return d
	}
	// deployed are these objects, and the admission policies as they are installed.
	deployed := func(objects ...client.Object) []client.Object { return append(objects, admission(t)...) }
	const runs = "OK Deployment manager has 2/3 replicas available, version v1"
	var inForce, none []string
	for _, p := range policies {
		inForce = append(inForce, "OK admission policy "+p.name+" is in force")
		none = append(none, "Warning admission policy "+p.name+" is not in force (it does not exist): "+p.without+" | kubectl apply --server-side -f install.yaml")
	}
	policies, absent := strings.Join(inForce, "\n"), strings.Join(none, "\n")
	const missing = "Failure the operator is not installed in namespace system (--operator-namespace names another) | kubectl apply --server-side -f install.yaml"
	for name, tt := range map[string]struct {
		funcs   interceptor.Funcs
		objects []client.Object
		want    string
	}{
		"it runs":                    {interceptor.Funcs{}, deployed(deployment("system", 2)), runs + "\n" + policies},
		"it is elsewhere":            {interceptor.Funcs{}, deployed(deployment("other", 2)), missing + "\n" + policies},
		"it does not run":            {interceptor.Funcs{}, []client.Object{deployment("system", 0)}, "Failure Deployment manager has no available replica: nothing is reconciled | kubectl describe deployment manager -n system\n" + absent},
		"it may not be read":         {listing[*appsv1.DeploymentList](forbidden), deployed(), "Warning Deployments in namespace system cannot be examined: you may not read them | kubectl auth can-i --list\n" + policies},
		"its policy is not served":   {listing[*admissionv1.ValidatingAdmissionPolicyList](errUnserved), deployed(deployment("system", 2)), runs + "\n" + absent},
		"its policy may not be read": {listing[*admissionv1.ValidatingAdmissionPolicyList](forbidden), deployed(deployment("system", 2)), runs + "\nWarning admission policies cannot be examined: you may not read them | kubectl auth can-i --list"},
		"nor their bindings":         {listing[*admissionv1.ValidatingAdmissionPolicyBindingList](forbidden), deployed(deployment("system", 2)), runs + "\nWarning admission policies cannot be examined: you may not read them | kubectl auth can-i --list"},
	} {
		findings, err := examined(t, tt.funcs, nil, tt.objects...).operator(t.Context())
		if got := found(findings); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tt.want)
		}
	}
	for name, funcs := range map[string]interceptor.Funcs{"Deployments": listing[*appsv1.DeploymentList](errBroken), "bindings": listing[*admissionv1.ValidatingAdmissionPolicyBindingList](errBroken)} {
		if _, err := examined(t, funcs, nil).operator(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("%s that cannot be read: %v", name, err)
		}
	}
}

// admission are the admission policies and bindings of config/admission, with the prefix
// that config/default gives their names.
func admission(t *testing.T) (all []client.Object) {
	t.Helper()
	files, err := filepath.Glob("../../../config/admission/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // a file of the repository
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(data), "\n---\n") {
			var kind metav1.TypeMeta
			policy, binding := &admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatal(err)
			}
			switch kind.Kind {
			case "ValidatingAdmissionPolicy":
				err = yaml.UnmarshalStrict([]byte(document), policy)
				policy.Name = "gocache-" + policy.Name
				all = append(all, policy)
			case "ValidatingAdmissionPolicyBinding":
				err = yaml.UnmarshalStrict([]byte(document), binding)
				binding.Name, binding.Spec.PolicyName = "gocache-"+binding.Name, "gocache-"+binding.Spec.PolicyName
				all = append(all, binding)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// TestPolicies holds that each admission policy of the operator is looked for, and which
// ones are not in force.
func TestPolicies(t *testing.T) {
	installed := map[string]bool{}
	for _, o := range admission(t) {
		if _, is := o.(*admissionv1.ValidatingAdmissionPolicy); is {
			installed[o.GetName()] = true
		}
	}
	for _, p := range policies {
		if !installed[p.name] {
			t.Errorf("config/admission has no policy %s", p.name)
		}
	}
	if len(installed) != len(policies) {
		t.Errorf("%d policies are looked for, of %d", len(policies), len(installed))
	}
	const name = "gocache-requests"
	const shown = " | kubectl get validatingadmissionpolicybinding gocache-requests -o yaml"
	const without = ": the right to create CacheRequests includes every action"
	bound := func(change func(*admissionv1.ValidatingAdmissionPolicyBindingSpec)) func([]client.Object) []client.Object {
		return func(all []client.Object) []client.Object {
			for _, o := range all {
				if b, is := o.(*admissionv1.ValidatingAdmissionPolicyBinding); is && b.Name == name {
					change(&b.Spec)
				}
			}
			return all
		}
	}
	matching := func(m admissionv1.MatchResources) func([]client.Object) []client.Object {
		return bound(func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) { s.MatchResources = &m })
	}
	lacking := func(kind string) func([]client.Object) []client.Object {
		return func(all []client.Object) []client.Object {
			return slices.DeleteFunc(all, func(o client.Object) bool { return fmt.Sprintf("%T", o) == kind && o.GetName() == name })
		}
	}
	some := &metav1.LabelSelector{MatchLabels: map[string]string{"checked": "yes"}}
	in := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "checked", Operator: metav1.LabelSelectorOpExists}}}
	rules := make([]admissionv1.NamedRuleWithOperations, 1)
	const partial = "Warning admission policy gocache-requests is not in force (its binding gocache-requests is for some objects only)" + without + shown
	for title, tt := range map[string]struct {
		change func([]client.Object) []client.Object
		want   string
	}{
		"as installed": {func(all []client.Object) []client.Object { return all }, "OK admission policy gocache-requests is in force"},
		"no policy":    {lacking("*v1.ValidatingAdmissionPolicy"), "Warning admission policy gocache-requests is not in force (it does not exist)" + without + " | kubectl apply --server-side -f install.yaml"},
		"no binding":   {lacking("*v1.ValidatingAdmissionPolicyBinding"), "Warning admission policy gocache-requests is not in force (it has no binding)" + without + " | kubectl apply --server-side -f install.yaml"},
		"no action":    {bound(func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) { s.ValidationActions = nil }), "Warning admission policy gocache-requests is not in force (its binding gocache-requests does not deny)" + without + shown},
		"audit": {bound(func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.ValidationActions = []admissionv1.ValidationAction{admissionv1.Audit, admissionv1.Warn}
		}), "Warning admission policy gocache-requests is not in force (its binding gocache-requests does not deny)" + without + shown},
		"audit and deny": {bound(func(s *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
			s.ValidationActions = []admissionv1.ValidationAction{admissionv1.Audit, admissionv1.Deny}
		}), "OK admission policy gocache-requests is in force"},
		"everything":         {matching(admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{}, MatchPolicy: ptr.To(admissionv1.Equivalent)}), "OK admission policy gocache-requests is in force"},
		"some namespaces":    {matching(admissionv1.MatchResources{NamespaceSelector: in}), partial},
		"some objects":       {matching(admissionv1.MatchResources{ObjectSelector: some}), partial},
		"some kinds":         {matching(admissionv1.MatchResources{ResourceRules: rules}), partial},
		"all but some kinds": {matching(admissionv1.MatchResources{ExcludeResourceRules: rules}), partial},
		"another binding": {func(all []client.Object) []client.Object {
			own := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "own"}}
			own.Spec.PolicyName, own.Spec.ValidationActions = name, []admissionv1.ValidationAction{admissionv1.Deny}
			return append(matching(admissionv1.MatchResources{ObjectSelector: some})(all), own)
		}, "OK admission policy gocache-requests is in force"},
	} {
		findings, err := examined(t, interceptor.Funcs{}, nil, tt.change(admission(t))...).policies(t.Context())
		if err != nil || len(findings) != len(policies) {
			t.Fatalf("%s: %v, %+v", title, err, findings)
		}
		for _, f := range findings {
			if strings.HasPrefix(f.Message, "admission policy "+name+" ") && found([]Finding{f}) != tt.want {
				t.Errorf("%s:\n got %s\nwant %s", title, found([]Finding{f}), tt.want)
			}
			if !strings.HasPrefix(f.Message, "admission policy "+name+" ") && f.Level != status.LevelOK {
				t.Errorf("%s: %s", title, found([]Finding{f}))
			}
		}
	}
}

// TestRights holds which rights are asked for, and how to get those that are missing.
func TestRights(t *testing.T) {
	findings, err := examined(t, interceptor.Funcs{}, []string{"list", "warm-up", "approve"}).rights(t.Context())
	const view = "kubectl create rolebinding gocache-view --clusterrole=view --user=USER -n ci"
	want := "Warning you may not list gocaches | " + view + "\nWarning you may not list persistentvolumeclaims | " + view + "\nOK you may create cacherequests\n" +
		"Warning you may not warm-up gocaches | kubectl create rolebinding gocache-operate --clusterrole=gocache-operate --user=USER -n ci\nOK you may rollback gocaches\nOK you may failover modproxies\n" +
		"Warning you may not approve gocaches | kubectl create rolebinding gocache-approver --clusterrole=gocache-approver --user=USER -n ci\nOK you may reinstate modproxies"
	if got := found(findings); err != nil || got != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	var asked []string
	e := examined(t, interceptor.Funcs{Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
		a := o.(*authorizationv1.SelfSubjectAccessReview).Spec.ResourceAttributes
		asked = append(asked, strings.Join([]string{a.Namespace, a.Verb, a.Group, a.Resource}, " "))
		return nil
	}}, nil)
	if _, err := e.rights(t.Context()); err != nil || len(asked) != 8 || asked[1] != "ci list  persistentvolumeclaims" || asked[5] != "ci failover cache.gocache.dev modproxies" {
		t.Errorf("asked %q, %v", asked, err)
	}
	e = examined(t, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return errBroken }}, nil)
	if _, err := e.rights(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

// TestObjects holds what is found about caches and proxies, and the command for each.
func TestObjects(t *testing.T) {
	node := func(kind, name, state string, level status.Level, children ...status.Node) status.Node {
		return status.Node{Kind: kind, Name: name, State: state, Level: level, Message: "m", Children: children}
	}
	for name, tt := range map[string]struct {
		top  status.Node
		want string
	}{
		"nothing wrong": {node("GoCache", "ci", "Ready", status.LevelOK, node("PVC", "ci", "Pending", status.LevelProgress), node("CacheRequest", "r", "Failed", status.LevelWarning)), "OK GoCache ci is Ready"},
		"a cache":       {node("GoCache", "ci", "Stalled", status.LevelFailure), "Failure GoCache ci is Stalled: m | kubectl gocache logs ci -n ci"},
		"a proxy":       {node("ModProxy", "p", "NotReady", status.LevelWarning), "Warning ModProxy p is NotReady: m | kubectl gocache logs modproxy/p -n ci"},
		"suspended":     {node("GoCache", "ci", "Suspended", status.LevelWarning), `Warning GoCache ci is Suspended: m | kubectl patch GoCache ci -n ci --type merge -p '{"spec":{"suspend":false}}'`},
		"a PVC":         {node("GoCache", "ci", "Ready", status.LevelOK, node("PVC", "x", "Lost", status.LevelFailure)), "Failure PVC x is Lost: m | kubectl describe pvc x -n ci"},
		"a snapshot":    {node("GoCache", "ci", "Ready", status.LevelOK, node("CacheSnapshot", "s", "Stalled", status.LevelFailure)), "Failure CacheSnapshot s is Stalled: m | kubectl gocache logs cachesnapshot/s -n ci"},
		"a Corrupt one": {node("GoCache", "ci", "Ready", status.LevelOK, node("CacheSnapshot", "s", "Corrupt", status.LevelFailure)), "Warning CacheSnapshot s is Corrupt: m | kubectl gocache verify ci --wait -n ci"},
		"of a store":    {node("ModProxy", "p", "Ready", status.LevelOK, node("Instance", "blue", "Serving", status.LevelOK, node("CacheSnapshot", "s", "Corrupt", status.LevelFailure))), "Warning CacheSnapshot s is Corrupt: m | kubectl gocache verify modproxy/p --wait -n ci"},
		"an instance":   {node("ModProxy", "p", "Ready", status.LevelOK, node("Instance", "blue", "Unhealthy", status.LevelWarning)), "Warning instance blue of ModProxy p is Unhealthy: m | kubectl gocache logs modproxy/p blue -n ci"},
		"a quarantine":  {node("ModProxy", "p", "Ready", status.LevelOK, node("Instance", "blue", "Quarantined", status.LevelFailure)), "Failure instance blue of ModProxy p is Quarantined: m | kubectl gocache reinstate p blue --wait -n ci"},
	} {
		if got := found(examination{Options: Options{Namespace: "ci"}}.object(tt.top)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
	if findings, err := examined(t, interceptor.Funcs{}, nil).objects(t.Context()); err != nil || found(findings) != "OK there are none" {
		t.Errorf("none: %s, %v", found(findings), err)
	}
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "ci"}}
	if findings, err := examined(t, interceptor.Funcs{}, nil, cache).objects(t.Context()); err != nil || found(findings) != "OK GoCache ci is Pending" {
		t.Errorf("one: %s, %v", found(findings), err)
	}
	if findings, err := examined(t, listing[*v1alpha1.GoCacheList](forbidden), nil).objects(t.Context()); err != nil || found(findings) != "Warning GoCaches and ModProxies cannot be examined: you may not read them | kubectl auth can-i --list" {
		t.Errorf("they may not be read: %s, %v", found(findings), err)
	}
	if _, err := examined(t, listing[*v1alpha1.GoCacheList](errBroken), nil).objects(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("they cannot be read: %v", err)
	}
}

// class of the tests' driver.
func class(name string, change func(*storagev1.StorageClass)) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver, AllowVolumeExpansion: ptr.To(true)}
	change(c)
	return c
}

func isDefault(c *storagev1.StorageClass) { c.Annotations = map[string]string{defaultClass: "true"} }

func asItIs(*storagev1.StorageClass) {}

// cacheOn is a GoCache of a class; empty: the default one.
func cacheOn(name, class string, grows bool) *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name}}
	if class != "" {
		c.Spec.Storage.StorageClassName = &class
	}
	if grows {
		c.Spec.Storage.Growth = &v1alpha1.StorageGrowth{}
	}
	return c
}

// TestUsedClasses holds which classes matter to caches, and what is wrong with the default
// ones.
func TestUsedClasses(t *testing.T) {
	shared := cacheOn("shared", "", true)
	shared.Spec.Source = &v1alpha1.CacheSource{}
	named := cacheOn("empty", "", false)
	named.Spec.Storage.StorageClassName = ptr.To("")
	const none = `Failure GoCache a names no StorageClass, and the cluster has no default one | kubectl patch storageclass CLASS -p '{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'`
	for name, tt := range map[string]struct {
		caches  []*v1alpha1.GoCache
		classes []*storagev1.StorageClass
		used    string
		want    string
	}{
		"no cache":             {nil, []*storagev1.StorageClass{class("fast", isDefault), class("slow", asItIs)}, "map[fast:]", ""},
		"no cache, no default": {nil, []*storagev1.StorageClass{class("slow", asItIs)}, "map[]", "Warning the cluster has no default StorageClass: every GoCache has to name one | kubectl get storageclass"},
		"a named class":        {[]*v1alpha1.GoCache{cacheOn("a", "slow", false)}, []*storagev1.StorageClass{class("fast", isDefault)}, "map[slow:]", ""},
		"the default one":      {[]*v1alpha1.GoCache{cacheOn("a", "", true)}, []*storagev1.StorageClass{class("fast", isDefault)}, "map[fast:a]", ""},
		"an empty name":        {[]*v1alpha1.GoCache{named}, []*storagev1.StorageClass{class("fast", isDefault)}, "map[fast:]", ""},
		"one grows":            {[]*v1alpha1.GoCache{cacheOn("a", "slow", true), cacheOn("b", "slow", false)}, nil, "map[slow:a]", ""},
		"the other grows":      {[]*v1alpha1.GoCache{cacheOn("a", "slow", false), cacheOn("b", "slow", true)}, nil, "map[slow:b]", ""},
		"no default":           {[]*v1alpha1.GoCache{cacheOn("a", "", false)}, nil, "map[]", none},
		"it has no PVC":        {[]*v1alpha1.GoCache{shared}, nil, "map[]", ""},
		"several defaults":     {[]*v1alpha1.GoCache{cacheOn("a", "slow", false)}, []*storagev1.StorageClass{class("fast", isDefault), class("faster", isDefault)}, "map[slow:]", "Warning the cluster has 2 default StorageClasses: the newest is used | kubectl get storageclass"},
	} {
		var caches []v1alpha1.GoCache
		for _, c := range tt.caches {
			caches = append(caches, *c)
		}
		var classes []storagev1.StorageClass
		for _, c := range tt.classes {
			classes = append(classes, *c)
		}
		used, findings := usedClasses(caches, classes)
		if got := fmt.Sprint(used); got != tt.used || found(findings) != tt.want {
			t.Errorf("%s: %s\n got %s\nwant %s", name, got, found(findings), tt.want)
		}
	}
}

// TestExamineClass holds what is found about a class: its driver, its snapshot classes, and
// whether it expands.
func TestExamineClass(t *testing.T) {
	snapshots := func(name, driver string, isDefault bool) snapshotv1.VolumeSnapshotClass {
		c := snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
		if isDefault {
			c.Annotations = map[string]string{defaultSnapshotClass: "true"}
		}
		return c
	}
	drivers := []storagev1.CSIDriver{{ObjectMeta: metav1.ObjectMeta{Name: driver}}}
	rigid := func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = nil }
	const grow = "\nFailure StorageClass fast does not allow expansion, which spec.storage.growth of GoCache a needs | kubectl patch storageclass fast -p '{\"allowVolumeExpansion\":true}'"
	for name, tt := range map[string]struct {
		class     *storagev1.StorageClass
		snapshots []snapshotv1.VolumeSnapshotClass
		drivers   []storagev1.CSIDriver
		growing   string
		want      string
	}{
		"all is there":     {class("fast", asItIs), []snapshotv1.VolumeSnapshotClass{snapshots("other", "other", true), snapshots("s", driver, false)}, drivers, "a", "OK StorageClass fast: driver csi.test, VolumeSnapshotClass s"},
		"a default of two": {class("fast", rigid), []snapshotv1.VolumeSnapshotClass{snapshots("s", driver, false), snapshots("t", driver, true)}, drivers, "", "OK StorageClass fast: driver csi.test, VolumeSnapshotClass t"},
		"two":              {class("fast", asItIs), []snapshotv1.VolumeSnapshotClass{snapshots("s", driver, false), snapshots("t", driver, false)}, drivers, "", "Warning StorageClass fast: its driver csi.test has 2 VolumeSnapshotClasses, 0 of them default: name one in spec.snapshots.volumeSnapshotClassName | kubectl annotate volumesnapshotclass s snapshot.storage.kubernetes.io/is-default-class=true"},
		"two defaults":     {class("fast", asItIs), []snapshotv1.VolumeSnapshotClass{snapshots("s", driver, true), snapshots("t", driver, true)}, drivers, "", "Warning StorageClass fast: its driver csi.test has 2 VolumeSnapshotClasses, 2 of them default: name one in spec.snapshots.volumeSnapshotClassName | kubectl annotate volumesnapshotclass s snapshot.storage.kubernetes.io/is-default-class=true"},
		"none":             {class("fast", asItIs), []snapshotv1.VolumeSnapshotClass{snapshots("other", "other", true)}, drivers, "", "Failure StorageClass fast: there is no VolumeSnapshotClass for its driver csi.test | printf 'apiVersion: snapshot.storage.k8s.io/v1\\nkind: VolumeSnapshotClass\\nmetadata: {name: fast}\\ndriver: csi.test\\ndeletionPolicy: Delete\\n' | kubectl create -f -"},
		"no driver":        {class("fast", rigid), nil, nil, "a", "Failure StorageClass fast: no CSI driver csi.test is installed, so that there are no snapshots | kubectl get csidrivers"},
		"it does not grow": {class("fast", rigid), []snapshotv1.VolumeSnapshotClass{snapshots("s", driver, false)}, drivers, "a", "OK StorageClass fast: driver csi.test, VolumeSnapshotClass s" + grow},
		"it may not grow":  {class("fast", func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = ptr.To(false) }), []snapshotv1.VolumeSnapshotClass{snapshots("s", driver, false)}, drivers, "a", "OK StorageClass fast: driver csi.test, VolumeSnapshotClass s" + grow},
	} {
		if got := found(examineClass(tt.class, tt.snapshots, tt.drivers, tt.growing)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestStorage holds that only classes that matter are examined, and that what no cache uses
// yet is only a warning.
func TestStorage(t *testing.T) {
	const noDriver = " StorageClass fast: no CSI driver csi.test is installed, so that there are no snapshots | kubectl get csidrivers"
	for name, tt := range map[string]struct {
		objects []client.Object
		want    string
	}{
		"not used yet": {[]client.Object{class("fast", isDefault), class("slow", asItIs)}, "Warning" + noDriver},
		"used":         {[]client.Object{class("fast", isDefault), class("slow", asItIs), cacheOn("a", "fast", false)}, "Failure" + noDriver},
		"missing":      {[]client.Object{class("fast", isDefault), cacheOn("a", "gone", false)}, "Failure StorageClass gone does not exist | kubectl get storageclass"},
	} {
		findings, err := examined(t, interceptor.Funcs{}, nil, tt.objects...).storage(t.Context())
		if got := found(findings); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tt.want)
		}
	}
	for name, tt := range map[string]struct {
		funcs interceptor.Funcs
		want  string
		err   error
	}{
		"classes that may not be read": {listing[*storagev1.StorageClassList](forbidden), "Warning StorageClasses, VolumeSnapshotClasses and CSIDrivers cannot be examined: you may not read them | kubectl auth can-i --list", nil},
		"drivers that may not be read": {listing[*storagev1.CSIDriverList](forbidden), "Warning StorageClasses, VolumeSnapshotClasses and CSIDrivers cannot be examined: you may not read them | kubectl auth can-i --list", nil},
		"classes that cannot be read":  {listing[*storagev1.StorageClassList](errBroken), "", errBroken},
		"snapshot classes not read":    {listing[*snapshotv1.VolumeSnapshotClassList](errBroken), "", errBroken},
		"caches that may not be read":  {listing[*v1alpha1.GoCacheList](forbidden), "Warning the cluster has no default StorageClass: every GoCache has to name one | kubectl get storageclass", nil},
		"caches that are not served":   {listing[*v1alpha1.GoCacheList](errUnserved), "Warning the cluster has no default StorageClass: every GoCache has to name one | kubectl get storageclass", nil},
		"caches that cannot be read":   {listing[*v1alpha1.GoCacheList](errBroken), "", errBroken},
	} {
		findings, err := examined(t, tt.funcs, nil).storage(t.Context())
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || found(findings) != tt.want {
			t.Errorf("%s: %v\n%s", name, err, found(findings))
		}
	}
}

// TestNetwork holds what is found about NetworkPolicies that allow nothing.
func TestNetwork(t *testing.T) {
	const ingress, egress = networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	policy := func(name string, selects bool, rules bool, types ...networkingv1.PolicyType) *networkingv1.NetworkPolicy {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: types}}
		if selects {
			p.Spec.PodSelector.MatchLabels = map[string]string{"a": "b"}
		}
		if rules {
			p.Spec.Ingress, p.Spec.Egress = make([]networkingv1.NetworkPolicyIngressRule, 1), make([]networkingv1.NetworkPolicyEgressRule, 1)
		}
		return p
	}
	expressed := policy("some", false, false, egress)
	expressed.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}}
	const fix = " | kubectl describe networkpolicy -n ci"
	for name, tt := range map[string]struct {
		policies []client.Object
		want     string
	}{
		"none":                      {nil, "OK none denies all traffic"},
		"of some pods":              {[]client.Object{policy("some", true, false, egress)}, "OK none denies all traffic"},
		"of some by an expression":  {[]client.Object{expressed}, "OK none denies all traffic"},
		"it allows something":       {[]client.Object{policy("open", false, true, egress)}, "OK none denies all traffic"},
		"no egress":                 {[]client.Object{policy("deny", false, false, egress)}, "Failure NetworkPolicy deny denies all Egress, and no other allows any: warm-ups cannot reach a proxy or a git server, nor instances their upstream" + fix},
		"no ingress":                {[]client.Object{policy("deny", false, false, ingress)}, "Failure NetworkPolicy deny denies all Ingress, and no other allows any: no build can reach a proxy in this namespace" + fix},
		"another one allows egress": {[]client.Object{policy("deny", false, false, egress), policy("open", true, true, egress)}, "Warning NetworkPolicy deny denies all Egress that no other policy allows: check that the pods of caches and proxies are allowed" + fix},
		"another one allows the other direction": {[]client.Object{policy("deny", false, false, egress), policy("open", true, true, ingress)},
			"Failure NetworkPolicy deny denies all Egress, and no other allows any: warm-ups cannot reach a proxy or a git server, nor instances their upstream" + fix},
		"both": {[]client.Object{policy("deny", false, false, egress, ingress), policy("open", true, true, egress, ingress)},
			"Warning NetworkPolicy deny denies all Egress that no other policy allows: check that the pods of caches and proxies are allowed" + fix +
				"\nWarning NetworkPolicy deny denies all Ingress that no other policy allows: check that the pods of caches and proxies are allowed" + fix},
	} {
		findings, err := examined(t, interceptor.Funcs{}, nil, tt.policies...).network(t.Context())
		if got := found(findings); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tt.want)
		}
	}
	if findings, err := examined(t, listing[*networkingv1.NetworkPolicyList](forbidden), nil).network(t.Context()); err != nil || found(findings) != "Warning NetworkPolicies cannot be examined: you may not read them | kubectl auth can-i --list" {
		t.Errorf("%s, %v", found(findings), err)
	}
}

// TestFailed holds that warnings alone are no failure.
func TestFailed(t *testing.T) {
	for want, findings := range map[bool][]Finding{false: {ok("a"), warning("b", "")}, true: {ok("a"), failure("b", "c")}} {
		if got := (Report{Sections: []Section{{Findings: []Finding{ok("")}}, {Findings: findings}}}).Failed(); got != want {
			t.Errorf("%s: failed %t", found(findings), got)
		}
	}
}
