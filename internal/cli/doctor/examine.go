package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/status"
)

// oldest is the oldest release of Kubernetes that the operator supports.
const oldest = "1.30.0"

// Options choose what is examined.
type Options struct {
	// Namespace of the objects.
	Namespace string
	// OperatorNamespace is where the operator is installed.
	OperatorNamespace string
	// Progress is called with each subject that begins.
	Progress func(text string)
}

// Subjects are how many subjects a run examines at most.
const Subjects = 6

// examination is one run.
type examination struct {
	Options
	client    client.Client
	discovery discovery.DiscoveryInterface
}

// Examine checks all subjects. It creates nothing but reviews of the user's own
// rights, which the API server does not store. A subject that cannot be examined is a
// finding. An error is a cluster that cannot be reached, or an interruption.
func Examine(ctx context.Context, c client.Client, d discovery.DiscoveryInterface, o Options) (Report, error) {
	e := examination{Options: o, client: c, discovery: d}
	var report Report
	o.Progress("Cluster")
	served, findings, err := e.cluster()
	if err != nil {
		return report, err
	}
	report.Sections = append(report.Sections, Section{"Cluster", findings})
	for _, subject := range []struct {
		name    string
		needs   string
		examine func(context.Context) ([]Finding, error)
	}{
		{"Operator", "", e.operator},
		{"Storage", snapshotGroup, e.storage},
		{"Your rights in namespace " + o.Namespace, "", e.rights},
		{"Network policies in namespace " + o.Namespace, "", e.network},
		{"Objects in namespace " + o.Namespace, v1alpha1.GroupName, e.objects},
	} {
		if subject.needs != "" && !served[subject.needs] {
			continue // reported already
		}
		o.Progress(subject.name)
		findings, err := subject.examine(ctx)
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if err != nil {
			message := strings.Join(strings.Fields(err.Error()), " ")
			findings = append(findings, failure("not all of this can be examined: "+message, "kubectl get --raw '/readyz?verbose'"))
		}
		report.Sections = append(report.Sections, Section{subject.name, findings})
	}
	return report, nil
}

const snapshotGroup = "snapshot.storage.k8s.io"

// groups that the operator needs, with the version, and how to get them.
var groups = []struct{ name, version, fix string }{
	{v1alpha1.GroupName, v1alpha1.GroupVersion.Version, install},
	{snapshotGroup, "v1", "kubectl apply -k 'https://github.com/kubernetes-csi/external-snapshotter/client/config/crd'"},
	{"admissionregistration.k8s.io", "v1", ""},
}

// cluster checks the release of Kubernetes and the APIs that it serves.
func (e examination) cluster() (served map[string]bool, findings []Finding, err error) {
	info, err := e.discovery.ServerVersion()
	if err != nil {
		return nil, nil, fmt.Errorf("reach the API server: %w", err)
	}
	running, err := version.ParseGeneric(info.GitVersion)
	switch {
	case err != nil:
		findings = append(findings, warning(fmt.Sprintf("Kubernetes has a version that cannot be read: %s", info.GitVersion), "kubectl version"))
	case running.LessThan(version.MustParseGeneric(oldest)):
		findings = append(findings, failure(fmt.Sprintf("Kubernetes %s is too old: %s or newer is needed", info.GitVersion, oldest), "kubectl version"))
	default:
		findings = append(findings, ok("Kubernetes "+info.GitVersion))
	}
	list, err := e.discovery.ServerGroups()
	if err != nil {
		return nil, nil, fmt.Errorf("list the APIs: %w", err)
	}
	served = map[string]bool{}
	versions := map[string]bool{}
	for _, g := range list.Groups {
		for _, v := range g.Versions {
			versions[v.GroupVersion] = true
		}
	}
	for _, g := range groups {
		served[g.name] = versions[g.name+"/"+g.version]
		if served[g.name] {
			findings = append(findings, ok(g.name+"/"+g.version+" is served"))
			continue
		}
		findings = append(findings, failure(g.name+"/"+g.version+" is not served", g.fix))
	}
	return served, findings, nil
}

// notAllowed is the finding for what the user may not read.
func notAllowed(what string) Finding {
	return warning(what+" cannot be examined: you may not read them", "kubectl auth can-i --list")
}

// policies are the admission policies of the operator, and what holds without them.
var policies = []struct{ name, without string }{
	{"gocache-requests", "the right to create CacheRequests includes every action"},
	{"gocache-approvals", "a user who may change a GoCache can have its cleanups applied without approval"},
	{"gocache-unassigned-volumes", "a pod can write to a volume that was checked and is about to be given to the PVC of a build"},
	{"gocache-unassigned-volumes-of-jobs", "a Job can write to a volume that was checked and is about to be given to the PVC of a build"},
	{"gocache-images-of-jobs", "a user who may change pods can have another program write the report of a check"},
	{"gocache-manager-volumes", "nothing but its own code keeps the operator from giving a PersistentVolume to another namespace"},
	{"gocache-manager-snapshots", "nothing but its own code keeps the operator from changing VolumeSnapshotContents of others"},
}

// install is the command that installs the operator.
const install = "kubectl apply --server-side -f install.yaml"

// operator checks that the operator runs and that its admission policies are in force.
func (e examination) operator(ctx context.Context) ([]Finding, error) {
	var findings []Finding
	var deployments appsv1.DeploymentList
	err := e.client.List(ctx, &deployments, client.InNamespace(e.OperatorNamespace), client.MatchingLabels{"app.kubernetes.io/name": v1alpha1.ManagedByValue})
	switch {
	case apierrors.IsForbidden(err):
		findings = append(findings, notAllowed("Deployments in namespace "+e.OperatorNamespace))
	case err != nil:
		return nil, err
	case len(deployments.Items) == 0:
		findings = append(findings, failure("the operator is not installed in namespace "+e.OperatorNamespace+" (--operator-namespace names another)", install))
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		name := "Deployment " + d.Name
		if d.Status.AvailableReplicas == 0 {
			findings = append(findings, failure(name+" has no available replica: nothing is reconciled", fmt.Sprintf("kubectl describe deployment %s -n %s", d.Name, d.Namespace)))
			continue
		}
		findings = append(findings, ok(fmt.Sprintf("%s has %d/%d replicas available, version %s", name, d.Status.AvailableReplicas, ptr.Deref(d.Spec.Replicas, 1), d.Labels["app.kubernetes.io/version"])))
	}
	ofPolicies, err := e.policies(ctx)
	return append(findings, ofPolicies...), err
}

// policies checks that the admission policies are in force.
func (e examination) policies(ctx context.Context) ([]Finding, error) {
	var all admissionv1.ValidatingAdmissionPolicyList
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	for _, list := range []client.ObjectList{&all, &bindings} {
		err := e.client.List(ctx, list)
		if apierrors.IsForbidden(err) {
			return []Finding{notAllowed("admission policies")}, nil
		}
		if err != nil && !meta.IsNoMatchError(err) { // releases that are too old do not serve them
			return nil, err
		}
	}
	var findings []Finding
	for _, p := range policies {
		why, fix := withoutEffect(p.name, all.Items, bindings.Items)
		if why == "" {
			findings = append(findings, ok("admission policy "+p.name+" is in force"))
			continue
		}
		findings = append(findings, warning(fmt.Sprintf("admission policy %s is not in force (%s): %s", p.name, why, p.without), fix))
	}
	return findings, nil
}

// withoutEffect is why the API server does not refuse all that a policy does not allow,
// and a command; empty: it does.
func withoutEffect(policy string, all []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) (why, fix string) {
	if !slices.ContainsFunc(all, func(p admissionv1.ValidatingAdmissionPolicy) bool { return p.Name == policy }) {
		return "it does not exist", install
	}
	why, fix = "it has no binding", install
	for i := range bindings {
		b := &bindings[i]
		switch {
		case b.Spec.PolicyName != policy:
			continue
		case !slices.Contains(b.Spec.ValidationActions, admissionv1.Deny):
			why = "its binding " + b.Name + " does not deny"
		case selects(b.Spec.MatchResources):
			why = "its binding " + b.Name + " is for some objects only"
		default:
			return "", ""
		}
		fix = "kubectl get validatingadmissionpolicybinding " + b.Name + " -o yaml"
	}
	return why, fix
}

// selects reports whether a binding leaves out objects that its policy is about.
func selects(m *admissionv1.MatchResources) bool {
	some := func(s *metav1.LabelSelector) bool {
		return s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0
	}
	return m != nil && (some(m.NamespaceSelector) || some(m.ObjectSelector) || len(m.ResourceRules)+len(m.ExcludeResourceRules) > 0)
}

// rights asks the API server what the user may do.
func (e examination) rights(ctx context.Context) ([]Finding, error) {
	view := fmt.Sprintf("kubectl create rolebinding gocache-view --clusterrole=view --user=USER -n %s", e.Namespace)
	operate := fmt.Sprintf("kubectl create rolebinding gocache-operate --clusterrole=gocache-operate --user=USER -n %s", e.Namespace)
	approve := fmt.Sprintf("kubectl create rolebinding gocache-approver --clusterrole=gocache-approver --user=USER -n %s", e.Namespace)
	var findings []Finding
	for _, right := range []struct{ verb, group, resource, fix string }{
		{"list", v1alpha1.GroupName, "gocaches", view},
		{"list", "", "persistentvolumeclaims", view},
		{"create", v1alpha1.GroupName, "cacherequests", operate},
		{"warm-up", v1alpha1.GroupName, "gocaches", operate},
		{"rollback", v1alpha1.GroupName, "gocaches", operate},
		{"failover", v1alpha1.GroupName, "modproxies", operate},
		{"approve", v1alpha1.GroupName, "gocaches", approve},
		{"reinstate", v1alpha1.GroupName, "modproxies", approve},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: e.Namespace, Verb: right.verb, Group: right.group, Resource: right.resource},
		}}
		if err := e.client.Create(ctx, review); err != nil {
			return nil, err
		}
		if review.Status.Allowed {
			findings = append(findings, ok("you may "+right.verb+" "+right.resource))
			continue
		}
		findings = append(findings, warning("you may not "+right.verb+" "+right.resource, right.fix))
	}
	return findings, nil
}

// objects checks the state of the caches and proxies.
func (e examination) objects(ctx context.Context) ([]Finding, error) {
	report, err := status.Read(ctx, e.client, status.Options{Namespace: e.Namespace})
	if apierrors.IsForbidden(err) {
		return []Finding{notAllowed("GoCaches and ModProxies")}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(report.Items) == 0 {
		return []Finding{ok("there are none")}, nil
	}
	var findings []Finding
	for _, item := range report.Items {
		findings = append(findings, e.object(item)...)
	}
	return findings, nil
}

// object checks one tree.
func (e examination) object(top status.Node) []Finding {
	target := top.Name
	if top.Kind == v1alpha1.ModProxyKind {
		target = "modproxy/" + top.Name
	}
	command := func(verb, rest string) string {
		return fmt.Sprintf("kubectl gocache %s %s -n %s", verb, rest, e.Namespace)
	}
	var findings []Finding
	for _, row := range (status.Report{Items: []status.Node{top}}).Rows() {
		n := row.Node
		if n.Kind == v1alpha1.CacheRequestKind || n.Level == status.LevelOK || n.Level == status.LevelProgress {
			continue // a request that failed was reported to its author
		}
		f := Finding{Level: n.Level, Message: fmt.Sprintf("%s %s is %s: %s", n.Kind, n.Name, n.State, n.Message)}
		switch {
		case n.Kind == "Instance":
			f.Fix = command("logs", target+" "+n.Name)
			if n.State == "Quarantined" {
				f.Fix = command("reinstate", top.Name+" "+n.Name+" --wait")
			}
			f.Message = fmt.Sprintf("instance %s of ModProxy %s is %s: %s", n.Name, top.Name, n.State, n.Message)
		case n.Kind == v1alpha1.CacheSnapshotKind && n.State == string(v1alpha1.VerdictCorrupt):
			// It is never offered; the question is whether its source is corrupt too.
			f.Level, f.Fix = status.LevelWarning, command("verify", target+" --wait")
		case n.Kind == v1alpha1.CacheSnapshotKind:
			f.Fix = command("logs", "cachesnapshot/"+n.Name)
		case n.Kind == "PVC":
			f.Fix = fmt.Sprintf("kubectl describe pvc %s -n %s", n.Name, e.Namespace)
		case n.State == "Suspended":
			f.Fix = fmt.Sprintf(`kubectl patch %s %s -n %s --type merge -p '{"spec":{"suspend":false}}'`, n.Kind, n.Name, e.Namespace)
		default:
			f.Fix = command("logs", target)
		}
		findings = append(findings, f)
	}
	if len(findings) == 0 {
		findings = append(findings, ok(fmt.Sprintf("%s %s is %s", top.Kind, top.Name, top.State)))
	}
	return findings
}
