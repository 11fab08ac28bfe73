package writer

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/podspec"
)

const (
	secretsDir = "/secrets"
	trustedDir = "/trusted-ca"
	// checkoutLimit is how much of a node's disk the files of a repository take
	// at most, with what is sent of its history.
	checkoutLimit = "10Gi"
	// temporaryLimit is the same for temporary files, such as the keys of ssh servers.
	temporaryLimit = "16Mi"
	// fetchMemory is the limit of memory of a container that fetches.
	fetchMemory = "512Mi"
)

// commits of the git sources, as a Job carries them.
func commits(sources []pass.Source) string {
	var all []string
	for _, src := range sources {
		if src.Git != nil && src.Missing == "" {
			all = append(all, src.Label+"="+src.Git.Commit)
		}
	}
	return strings.Join(all, ",")
}

// builtCommits are those of what commits returned whose sources did not fail.
func builtCommits(text string, failed []string) []string {
	var built []string
	for pair := range strings.SplitSeq(text, ",") {
		label, commit, named := strings.Cut(pair, "=")
		if !named { // the Job of an earlier release
			label, commit = "", pair
		}
		if !slices.Contains(failed, label) {
			built = append(built, commit)
		}
	}
	return built
}

// credentials is a Secret as a volume, with the keys that are of use.
func credentials(name, secret string) corev1.Volume {
	v := corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret, DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
	}}}
	for _, key := range append(gitrepo.Keys(), gitrepo.CAKey) {
		v.Secret.Items = append(v.Secret.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return v
}

// proxyCredentials is the Secret with which clients of the proxy authenticate, for
// the go command of a warm-up.
func proxyCredentials(secret string) (corev1.Volume, corev1.VolumeMount) {
	v := corev1.Volume{Name: "proxy-credentials", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret, DefaultMode: ptr.To[int32](0o440),
		Items: []corev1.KeyToPath{{Key: corev1.BasicAuthUsernameKey, Path: corev1.BasicAuthUsernameKey}, {Key: corev1.BasicAuthPasswordKey, Path: corev1.BasicAuthPasswordKey}},
	}}}
	return v, corev1.VolumeMount{Name: v.Name, MountPath: path.Join(secretsDir, "proxy"), ReadOnly: true}
}

// recordCommits notes what a warm-up has built of the revisions that are known.
func (t *turn) recordCommits(built []string) {
	for i := range t.cache.Status.WarmUp.Revisions {
		r := &t.cache.Status.WarmUp.Revisions[i]
		if r.Commit != "" && slices.Contains(built, r.Commit) {
			r.WarmedCommit = r.Commit
		}
	}
}

// memoryOf is the limit of memory of the container that has the variable.
func memoryOf() corev1.EnvVar {
	return corev1.EnvVar{Name: agentcommand.FetchMemoryVariable, ValueFrom: &corev1.EnvVarSource{
		ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"},
	}}
}

// fetchTimeout is how long each of the repositories may take: all of them together half
// of the time of the Job, so that one that hangs leaves time for the others.
func fetchTimeout(deadline time.Duration, sources []pass.Source) time.Duration {
	repositories := 0
	for _, s := range sources {
		if s.Git != nil && s.Missing == "" {
			repositories++
		}
	}
	return max(deadline/time.Duration(2*max(repositories, 1)), time.Second).Truncate(time.Second)
}

// checkout adds to a pod what brings a repository's files to a directory. It is
// done by a container of its own, so that the one that compiles them has no
// credentials. The containers have nothing in common but these files: what one
// repository has its container write must not reach another one's, nor what compiles.
//
// A repository that is too large, or whose server hangs, fails alone: the command is
// bounded below what would end the pod.
func (t *turn) checkout(git *pass.GitSource, i int, dir string, timeout time.Duration) (corev1.Container, []corev1.Volume, corev1.VolumeMount) {
	files := podspec.EmptyDir(fmt.Sprintf("source-%d", i))
	limit := resource.MustParse(checkoutLimit)
	files.EmptyDir.SizeLimit = &limit
	mount := corev1.VolumeMount{Name: files.Name, MountPath: dir}
	temporary := podspec.EmptyDir(fmt.Sprintf("tmp-%d", i))
	temporary.EmptyDir.SizeLimit = ptr.To(resource.MustParse(temporaryLimit))
	command := agentcommand.Fetch{
		URL: git.URL, Commit: git.Commit, Dir: dir, ReportInDir: true, Ref: git.Ref, Sparse: git.Sparse, Submodules: git.Submodules,
		MaxBytes: limit.Value() / 5 * 4, Timeout: timeout,
	}
	fetch := corev1.Container{
		Name: files.Name, Image: t.Images.Operator, Env: append(podspec.Env(t.Proxies.Env()), memoryOf()),
		Resources:                podspec.Helper(t.cache.Spec.PodTemplate, "1", fetchMemory),
		VolumeMounts:             []corev1.VolumeMount{mount, {Name: temporary.Name, MountPath: "/tmp"}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	volumes := append([]corev1.Volume{files, temporary}, access(git, i, &fetch, &command)...)
	fetch.Command = agentcommand.InImage(command)
	return fetch, volumes, mount
}

// access gives a container and its command what a git server asks for, and what it is
// known by, from the volumes that are returned.
func access(git *pass.GitSource, i int, fetch *corev1.Container, command *agentcommand.Fetch) (volumes []corev1.Volume) {
	if git.Secret != "" {
		secret := credentials(fmt.Sprintf("secret-%d", i), git.Secret)
		volumes = append(volumes, secret)
		at := path.Join(secretsDir, fmt.Sprint(i))
		command.Secret = at
		fetch.VolumeMounts = append(fetch.VolumeMounts, corev1.VolumeMount{Name: secret.Name, MountPath: at, ReadOnly: true})
	}
	if git.CA != "" {
		at := path.Join(trustedDir, fmt.Sprint(i))
		name := fmt.Sprintf("trusted-ca-%d", i)
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: git.CA}, Items: []corev1.KeyToPath{{Key: pass.CAKey, Path: pass.CAKey}},
		}}})
		command.CAFile = path.Join(at, pass.CAKey)
		fetch.VolumeMounts = append(fetch.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: at, ReadOnly: true})
	}
	return volumes
}
