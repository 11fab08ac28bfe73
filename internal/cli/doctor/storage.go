package doctor

import (
	"context"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/status"
)

const (
	defaultClass         = "storageclass.kubernetes.io/is-default-class"
	defaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"
)

// storage checks the StorageClasses that caches use, or would use, with their
// drivers and snapshot classes.
func (e examination) storage(ctx context.Context) ([]Finding, error) {
	var classes storagev1.StorageClassList
	var snapshotClasses snapshotv1.VolumeSnapshotClassList
	var drivers storagev1.CSIDriverList
	for _, list := range []client.ObjectList{&classes, &snapshotClasses, &drivers} {
		err := e.client.List(ctx, list)
		if apierrors.IsForbidden(err) {
			return []Finding{notAllowed("StorageClasses, VolumeSnapshotClasses and CSIDrivers")}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	var caches v1alpha1.GoCacheList
	err := e.client.List(ctx, &caches, client.InNamespace(e.Namespace))
	if err != nil && !apierrors.IsForbidden(err) && !meta.IsNoMatchError(err) { // there are none before the installation
		return nil, err
	}
	used, findings := usedClasses(caches.Items, classes.Items)
	for _, name := range sets.List(sets.KeySet(used)) {
		i := slices.IndexFunc(classes.Items, func(c storagev1.StorageClass) bool { return c.Name == name })
		if i < 0 {
			findings = append(findings, failure("StorageClass "+name+" does not exist", "kubectl get storageclass"))
			continue
		}
		for _, f := range examineClass(&classes.Items[i], snapshotClasses.Items, drivers.Items, used[name]) {
			if f.Level == status.LevelFailure && len(caches.Items) == 0 {
				f.Level = status.LevelWarning // nothing uses it yet
			}
			findings = append(findings, f)
		}
	}
	return findings, nil
}

// usedClasses are the StorageClasses that caches use, or would use, each with a
// cache that needs it to expand, or "", and what is wrong with the default ones.
func usedClasses(caches []v1alpha1.GoCache, classes []storagev1.StorageClass) (used map[string]string, findings []Finding) {
	used = map[string]string{}
	var defaults []string
	for i := range classes {
		if classes[i].Annotations[defaultClass] == "true" {
			defaults = append(defaults, classes[i].Name)
		}
	}
	use := func(growing string, names ...string) {
		for _, name := range names {
			used[name] = max(used[name], growing)
		}
	}
	if len(caches) == 0 { // a cache would use it, unless it names another
		use("", defaults...)
	}
	for i := range caches {
		c := &caches[i]
		if c.Spec.Source != nil {
			continue // it has no PVC
		}
		class := c.Spec.Storage.StorageClassName
		switch {
		case class != nil && *class != "":
			use(grows(c), *class)
		case len(defaults) == 0:
			findings = append(findings, failure(fmt.Sprintf("GoCache %s names no StorageClass, and the cluster has no default one", c.Name),
				fmt.Sprintf(`kubectl patch storageclass CLASS -p '{"metadata":{"annotations":{"%s":"true"}}}'`, defaultClass)))
		default:
			use(grows(c), defaults...)
		}
	}
	switch {
	case len(defaults) == 0 && len(caches) == 0:
		findings = append(findings, warning("the cluster has no default StorageClass: every GoCache has to name one", "kubectl get storageclass"))
	case len(defaults) > 1:
		findings = append(findings, warning(fmt.Sprintf("the cluster has %d default StorageClasses: the newest is used", len(defaults)), "kubectl get storageclass"))
	}
	return used, findings
}

// grows is the name of a cache that expands its PVC, or empty.
func grows(c *v1alpha1.GoCache) string {
	if c.Spec.Storage.Growth == nil {
		return ""
	}
	return c.Name
}

func examineClass(class *storagev1.StorageClass, snapshotClasses []snapshotv1.VolumeSnapshotClass, drivers []storagev1.CSIDriver, growing string) []Finding {
	name := "StorageClass " + class.Name
	if !slices.ContainsFunc(drivers, func(d storagev1.CSIDriver) bool { return d.Name == class.Provisioner }) {
		return []Finding{failure(fmt.Sprintf("%s: no CSI driver %s is installed, so that there are no snapshots", name, class.Provisioner), "kubectl get csidrivers")}
	}
	var findings []Finding
	var own, defaults []string
	for i := range snapshotClasses {
		if c := &snapshotClasses[i]; c.Driver == class.Provisioner {
			own = append(own, c.Name)
			if c.Annotations[defaultSnapshotClass] == "true" {
				defaults = append(defaults, c.Name)
			}
		}
	}
	switch {
	case len(own) == 0:
		findings = append(findings, failure(fmt.Sprintf("%s: there is no VolumeSnapshotClass for its driver %s", name, class.Provisioner),
			fmt.Sprintf("printf 'apiVersion: snapshot.storage.k8s.io/v1\\nkind: VolumeSnapshotClass\\nmetadata: {name: %s}\\ndriver: %s\\ndeletionPolicy: Delete\\n' | kubectl create -f -", class.Name, class.Provisioner)))
	case len(own) > 1 && len(defaults) != 1:
		findings = append(findings, warning(fmt.Sprintf("%s: its driver %s has %d VolumeSnapshotClasses, %d of them default: name one in spec.snapshots.volumeSnapshotClassName", name, class.Provisioner, len(own), len(defaults)),
			fmt.Sprintf("kubectl annotate volumesnapshotclass %s %s=true", own[0], defaultSnapshotClass)))
	default:
		findings = append(findings, ok(fmt.Sprintf("%s: driver %s, VolumeSnapshotClass %s", name, class.Provisioner, append(defaults, own...)[0])))
	}
	if expands := class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion; !expands && growing != "" {
		findings = append(findings, failure(fmt.Sprintf("%s does not allow expansion, which spec.storage.growth of GoCache %s needs", name, growing),
			fmt.Sprintf("kubectl patch storageclass %s -p '{\"allowVolumeExpansion\":true}'", class.Name)))
	}
	return findings
}

// network looks for policies that select all pods and deny all egress: warm-ups
// could not reach a proxy.
func (e examination) network(ctx context.Context) ([]Finding, error) {
	var policies networkingv1.NetworkPolicyList
	err := e.client.List(ctx, &policies, client.InNamespace(e.Namespace))
	if apierrors.IsForbidden(err) {
		return []Finding{notAllowed("NetworkPolicies")}, nil
	}
	if err != nil {
		return nil, err
	}
	denies, allows := effects(policies.Items)
	var findings []Finding
	for kind, effect := range map[networkingv1.PolicyType]string{
		networkingv1.PolicyTypeEgress:  "warm-ups cannot reach a proxy or a git server, nor instances their upstream",
		networkingv1.PolicyTypeIngress: "no build can reach a proxy in this namespace",
	} {
		name := denies[kind]
		fix := fmt.Sprintf("kubectl describe networkpolicy -n %s", e.Namespace)
		switch {
		case name != "" && !allows[kind]:
			findings = append(findings, failure(fmt.Sprintf("NetworkPolicy %s denies all %s, and no other allows any: %s", name, kind, effect), fix))
		case name != "":
			findings = append(findings, warning(fmt.Sprintf("NetworkPolicy %s denies all %s that no other policy allows: check that %s", name, kind, "the pods of caches and proxies are allowed"), fix))
		}
	}
	slices.SortFunc(findings, func(a, b Finding) int { return slices.Compare([]byte(a.Message), []byte(b.Message)) })
	if len(findings) == 0 {
		findings = append(findings, ok("none denies all traffic"))
	}
	return findings, nil
}

// effects are, for each direction, a policy that selects all pods and allows
// nothing, and whether any policy allows something.
func effects(policies []networkingv1.NetworkPolicy) (denies map[networkingv1.PolicyType]string, allows map[networkingv1.PolicyType]bool) {
	denies, allows = map[networkingv1.PolicyType]string{}, map[networkingv1.PolicyType]bool{}
	for i := range policies {
		p := &policies[i].Spec
		everywhere := len(p.PodSelector.MatchLabels)+len(p.PodSelector.MatchExpressions) == 0
		for kind, rules := range map[networkingv1.PolicyType]int{networkingv1.PolicyTypeIngress: len(p.Ingress), networkingv1.PolicyTypeEgress: len(p.Egress)} {
			switch {
			case !slices.Contains(p.PolicyTypes, kind):
			case rules > 0:
				allows[kind] = true
			case everywhere:
				denies[kind] = policies[i].Name
			}
		}
	}
	return denies, allows
}
