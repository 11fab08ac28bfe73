package instances

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// vcsName of the container that fetches from version control, and of its volumes.
	vcsName = "version-control"
	// vcsAddress of its server: the loopback interface of the pod, so that it serves
	// the instance alone. The other containers of the pod listen at other ports.
	vcsAddress = "127.0.0.1:9105"
	vcsField   = "spec.privateModules.versionControl"

	toolsName   = "tools"
	toolsDir    = "/tools"
	vcsCache    = "repositories"
	vcsCacheDir = "/var/cache/repositories"
	vcsSecret   = "version-control-secret"
	vcsKeysDir  = "/etc/gocache-vcs/secret"
	vcsCA       = "version-control-ca"
	vcsCADir    = "/etc/gocache-vcs/ca"
	caKey       = "ca.crt"
)

// vcsCacheSize is the disk space for repositories without one in the spec.
var vcsCacheSize = resource.MustParse("10Gi")

// fetching is what the container that fetches from version control is given. The
// zero value: the spec has none.
type fetching struct {
	spec *v1alpha1.ProxyVersionControl
	// secret may be used; empty: there is none, or it may not.
	secret, hosts string
	image         string
}

// versionControlOf returns the spec of version control; nil: there is none.
func versionControlOf(p *v1alpha1.ModProxy) *v1alpha1.ProxyVersionControl {
	if p.Spec.PrivateModules == nil {
		return nil
	}
	return p.Spec.PrivateModules.VersionControl
}

// fetching reads what the spec names. An error that is of conditions.StalledError
// is why the container runs without some of it.
func (r Reconciler) fetching(ctx context.Context, p *v1alpha1.ModProxy) (f fetching, missing []error, err error) {
	f.spec = versionControlOf(p)
	if f.spec == nil {
		return f, nil, nil
	}
	for i, pattern := range p.Spec.PrivateModules.Patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			// Instances would ask the upstream for what it is meant for.
			return f, nil, pass.Invalid("spec.privateModules.patterns[%d]: %q is no pattern of module paths: write a path such as git.example.com/team, or a glob such as *.corp.example. Until then the instances do not change", i, pattern)
		}
	}
	f.image = f.spec.Image
	if f.image == "" {
		release, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
		f.image = r.Images.ToolchainFor(release)
	}
	if f.spec.SecretRef != nil {
		secret, err := read.Object[corev1.Secret](ctx, r.Live, p.Namespace, f.spec.SecretRef.Name)
		if err != nil {
			return f, nil, err
		}
		if reason, err := usable(p, secret, f); err != nil {
			missing = append(missing, withoutInput(reason, "secretRef", err))
		} else {
			f.secret, f.hosts = secret.Name, secret.Annotations[v1alpha1.HostsAnnotation]
		}
	}
	if f.trusts() {
		name := f.spec.TrustedCA.ConfigMapRef.Name
		config, err := read.Object[corev1.ConfigMap](ctx, r.Live, p.Namespace, name)
		switch {
		case err != nil:
			return f, nil, err
		case config == nil:
			err = consent.Refused("ConfigMap %s does not exist", name)
		case !x509.NewCertPool().AppendCertsFromPEM([]byte(config.Data[caKey])):
			err = consent.Refused("ConfigMap %s has no certificate in PEM format under the key %s", name, caKey)
		}
		if err != nil {
			missing = append(missing, withoutInput(v1alpha1.ReasonSourceNotFound, "trustedCA", err))
		}
	}
	return f, missing, nil
}

// trusts reports whether the authorities are those of spec.trustedCA. Those of the
// Secret, if there is one, are in the Secret: an authority decides which server passes
// for a host that the credentials are for.
func (f fetching) trusts() bool { return f.spec.TrustedCA != nil && f.spec.SecretRef == nil }

// usable returns an error, and the reason for it, unless a Secret has keys for git
// servers and allows hosts and the image.
func usable(p *v1alpha1.ModProxy, secret *corev1.Secret, f fetching) (reason string, err error) {
	if secret == nil {
		return v1alpha1.ReasonSourceNotFound, consent.Refused("Secret %s does not exist", f.spec.SecretRef.Name)
	}
	has := func(key string) bool { return len(secret.Data[key]) > 0 }
	switch {
	case has(gitrepo.IdentityKey) && !has(gitrepo.KnownHostsKey):
		return v1alpha1.ReasonSourceNotFound, consent.Refused("Secret %s has the key %s and no key %s, and nothing is sent to an ssh server whose key is not known: add the output of ssh-keyscan, after comparing it with the keys that the server's administrator publishes",
			secret.Name, gitrepo.IdentityKey, gitrepo.KnownHostsKey)
	case has(gitrepo.IdentityKey):
		if _, err := gitrepo.Credentials(secret.Data).SSHConfig("", "localhost:22"); err != nil {
			return v1alpha1.ReasonSourceNotFound, fmt.Errorf("Secret %s cannot be used for ssh: %w", secret.Name, err) //nolint:staticcheck // Secret is the name of a kind
		}
	case !has(netrcKey) && !has(passwordKey):
		return v1alpha1.ReasonSourceNotFound, consent.Refused("Secret %s has neither the key %s, nor %s and %s, nor %s and %s", secret.Name, netrcKey, usernameKey, passwordKey, gitrepo.IdentityKey, gitrepo.KnownHostsKey)
	}
	if _, err := consent.Hosts(secret, exampleHost(p)); err != nil {
		return v1alpha1.ReasonSecretRefused, err
	}
	if f.spec.Image != "" {
		return v1alpha1.ReasonSecretRefused, consent.ToImage(secret, f.spec.Image, vcsField+".image is set")
	}
	return "", nil
}

// exampleHost is the host of the first pattern, for a command that a user can copy.
func exampleHost(p *v1alpha1.ModProxy) string {
	host, _, _ := strings.Cut(p.Spec.PrivateModules.Patterns[0], "/")
	if strings.ContainsAny(strings.TrimPrefix(host, "*."), "*?[\\") {
		return "git.example.com"
	}
	return host
}

// withoutInput is the error of an input without which private modules are fetched.
func withoutInput(reason, field string, err error) error {
	return &conditions.StalledError{
		Reason: reason, RetryAfter: secretInterval,
		Message: fmt.Sprintf("Private modules are fetched without %s.%s: %s. It is read again every %s", vcsField, field, err, secretInterval),
	}
}

// addTo adds the container to the pod of an instance. It alone mounts the
// credentials of git servers.
func (f fetching) addTo(pod *corev1.PodSpec, operator string, p *v1alpha1.ModProxy, server v1alpha1.ProxyServer) {
	if f.spec == nil {
		return
	}
	size := ptr.Deref(f.spec.CacheSize, vcsCacheSize)
	command := agentcommand.VCS{
		Listen: vcsAddress, Modules: patterns(p), Dir: vcsCacheDir + "/vcs",
		MaxBytes: size.Value() / 5 * 4, // the kubelet evicts a pod whose emptyDir is larger than its limit
	}
	mounts := []corev1.VolumeMount{{Name: toolsName, MountPath: toolsDir, ReadOnly: true}, {Name: vcsCache, MountPath: vcsCacheDir}}
	repositories := podspec.EmptyDir(vcsCache)
	repositories.EmptyDir.SizeLimit = &size
	pod.Volumes = append(pod.Volumes, podspec.EmptyDir(toolsName), repositories)
	if f.secret != "" {
		command.Secret, command.Hosts = vcsKeysDir, f.hosts
		keys := credentials{secret: f.secret, keys: append(gitrepo.Keys(), netrcKey, gitrepo.CAKey)}
		volume := keys.volume()
		volume.Name = vcsSecret
		pod.Volumes = append(pod.Volumes, volume)
		mounts = append(mounts, corev1.VolumeMount{Name: vcsSecret, MountPath: vcsKeysDir, ReadOnly: true})
	}
	if f.trusts() {
		command.CAFile = path.Join(vcsCADir, caKey)
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: vcsCA, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: f.spec.TrustedCA.ConfigMapRef.Name},
			Items:                []corev1.KeyToPath{{Key: caKey, Path: caKey}}, Optional: ptr.To(true),
		}}})
		mounts = append(mounts, corev1.VolumeMount{Name: vcsCA, MountPath: vcsCADir, ReadOnly: true})
	}
	proxies := map[string]string{}
	for _, e := range server.Env {
		// A variable from a Secret is for the image of the server.
		if e.ValueFrom == nil && slices.Contains([]string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}, e.Name) {
			proxies[e.Name] = e.Value
		}
	}
	resources := podspec.Helper(template(p), "2", "2Gi")
	if f.spec.Resources != nil {
		resources = podspec.Resources(podspec.Compiling, f.spec.Resources, nil)
	}
	pod.InitContainers = append(pod.InitContainers, corev1.Container{
		Name: "install", Image: operator, Command: agentcommand.InImage(agentcommand.Install{Dir: toolsDir}),
		SecurityContext: podspec.Restricted(), VolumeMounts: []corev1.VolumeMount{{Name: toolsName, MountPath: toolsDir}},
	})
	pod.Containers = append(pod.Containers, corev1.Container{
		Name: vcsName, Image: f.image, Command: agentcommand.In(toolsDir, command), Env: podspec.Env(proxies), Resources: resources,
		SecurityContext: podspec.Restricted(), VolumeMounts: mounts,
	})
}

// flags of the server of an instance, which asks the container. They are no
// variables, so that a server.image without support for them does not start, in
// place of asking the upstream for private modules.
func (f fetching) flags(p *v1alpha1.ModProxy) []string {
	if f.spec == nil {
		return nil
	}
	return []string{"--version-control", (&url.URL{Scheme: "http", Host: vcsAddress}).String(), "--private-modules", patterns(p)}
}
