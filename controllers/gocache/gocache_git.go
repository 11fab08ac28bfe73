package gocache

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/gitrefs"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

const (
	secretsDir = "/secrets"
	// checkoutLimit is how much of a node's disk the files of a repository take
	// at most, with what is sent of its history.
	checkoutLimit = "10Gi"
)

// refs looks up which commit a ref of a git repository names, in the
// background: [gitrefs.Poller].
type refs interface {
	Lookup(now time.Time, object types.NamespacedName, ref gitrefs.Ref) (commit string, err error)
}

// changedRefs is the source of passes over caches whose refs name another
// commit, or whose repositories cannot be read any more.
func (r *Reconciler) changedRefs() ctrlsource.Source {
	poller := gitrefs.New(gitrefs.Options{})
	r.Refs = poller
	return poller.Source()
}

// gitSource is a repository as the warm-up Job will see it.
type gitSource struct {
	url, ref, commit, secret string
	packages                 []string
}

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// observeGit asks a repository which commit is to be built. One that does not
// answer stays at the commit that is known, and a warm-up waits for it.
func (r *Reconciler) observeGit(ctx context.Context, s *scope, f *facts, src v1alpha1.WarmUpSource) error {
	git := &gitSource{url: src.Git.URL, ref: src.Git.Ref, packages: src.Packages}
	known := s.knownRevision(git)
	git.commit = known.Commit
	f.sources = append(f.sources, source{git: git})
	if s.cache.Spec.Suspend {
		f.revisions = append(f.revisions, known)
		return nil
	}
	now := v1alpha1.GitRevision{URL: git.url, Ref: git.ref, Commit: known.Commit, WarmedCommit: known.WarmedCommit}
	ref := gitrefs.Ref{Namespace: s.cache.Namespace, Remote: gitrepo.Remote{URL: git.url, Ref: git.ref}}
	if src.Git.SecretRef != nil {
		git.secret = src.Git.SecretRef.Name
		secret, err := read.Object[corev1.Secret](ctx, r.Live, s.cache.Namespace, git.secret)
		if err != nil {
			return err
		}
		if secret == nil {
			now.Message = "Secret " + git.secret + " does not exist"
		} else {
			ref.Remote.Credentials = secret.Data
			ref.CredentialsVersion = strings.Join([]string{git.secret, string(secret.UID), secret.ResourceVersion}, "\n")
		}
	}
	if now.Message == "" {
		commit, err := r.Refs.Lookup(s.now, client.ObjectKeyFromObject(s.cache), ref)
		switch {
		case errors.Is(err, gitrefs.ErrPending): // its answer wakes a pass
			now = known
			f.sourceMissing = "repository " + git.url + " to be read"
		case err != nil:
			now.Message = bounded.Text(err.Error(), 512)
		default:
			now.Commit, git.commit = commit, commit
		}
	}
	if now.Message != "" {
		f.sourceMissing = unread(now)
	}
	f.revisions = append(f.revisions, now)
	return nil
}

// knownRevision is what the status says of a repository and ref.
func (s *scope) knownRevision(git *gitSource) v1alpha1.GitRevision {
	for _, r := range s.before.Status.WarmUp.Revisions {
		if r.URL == git.url && r.Ref == git.ref {
			return r
		}
	}
	return v1alpha1.GitRevision{URL: git.url, Ref: git.ref}
}

// commits of the git sources, as a Job carries them.
func commits(sources []source) string {
	var all []string
	for _, src := range sources {
		if src.git != nil {
			all = append(all, src.git.commit)
		}
	}
	return strings.Join(all, ",")
}

// bookCommits notes what a warm-up has built of the revisions that are known.
func (s *scope) bookCommits(built string) {
	for i := range s.cache.Status.WarmUp.Revisions {
		r := &s.cache.Status.WarmUp.Revisions[i]
		if r.Commit != "" && slices.Contains(strings.Split(built, ","), r.Commit) {
			r.WarmedCommit = r.Commit
		}
	}
}

// unread says which repository could not be read, and why.
func unread(r v1alpha1.GitRevision) string {
	text := "repository " + r.URL + " cannot be read: " + r.Message
	if r.Commit != "" {
		text += "; commit " + short(r.Commit) + " stands"
	}
	return text
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 12)] }

// checkout adds to a pod what brings a repository's files to a directory. It is
// done by a container of its own, so that the one that compiles them has no
// credentials.
func (r *Reconciler) checkout(git *gitSource, i int, dir string) (corev1.Container, []corev1.Volume, corev1.VolumeMount) {
	files := podspec.EmptyDir(fmt.Sprintf("source-%d", i))
	files.EmptyDir.SizeLimit = ptr.To(resource.MustParse(checkoutLimit))
	mount := corev1.VolumeMount{Name: files.Name, MountPath: dir}
	fetch := corev1.Container{
		Name: files.Name, Image: r.Images.Operator,
		Command:                  []string{"/gocache-agent", "fetch", "--url", git.url, "--commit", git.commit, "--dir", dir},
		VolumeMounts:             []corev1.VolumeMount{mount, {Name: "tmp", MountPath: "/tmp"}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	if git.ref != "" {
		fetch.Command = append(fetch.Command, "--ref", git.ref)
	}
	volumes := []corev1.Volume{files}
	if git.secret != "" {
		secret := credentials(fmt.Sprintf("secret-%d", i), git.secret)
		volumes = append(volumes, secret)
		at := path.Join(secretsDir, fmt.Sprint(i))
		fetch.Command = append(fetch.Command, "--secret", at)
		fetch.VolumeMounts = append(fetch.VolumeMounts, corev1.VolumeMount{Name: secret.Name, MountPath: at, ReadOnly: true})
	}
	return fetch, volumes, mount
}

// credentials is a Secret as a volume, with the keys that are of use.
func credentials(name, secret string) corev1.Volume {
	v := corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret, DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
	}}}
	for _, key := range gitrepo.Keys() {
		v.Secret.Items = append(v.Secret.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return v
}

// repositoryFlag names a checked out repository and its packages to the agent.
func repositoryFlag(git *gitSource, dir string) string {
	if len(git.packages) == 0 {
		return dir
	}
	return dir + "=" + strings.Join(git.packages, ",")
}
