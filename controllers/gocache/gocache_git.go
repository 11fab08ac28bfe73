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
	"gocache.dev/operator/controllers/gocache/pass"
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

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// observeGit asks a repository which commit is to be built. One that does not
// answer stays at the commit that is known, and a warm-up waits for it.
func (r *Reconciler) observeGit(ctx context.Context, o *pass.Observed, src v1alpha1.WarmUpSource) error {
	cache := o.Stored
	git := &pass.GitSource{URL: src.Git.URL, Ref: src.Git.Ref, Packages: src.Packages}
	known := knownRevision(cache, git)
	git.Commit = known.Commit
	o.Sources = append(o.Sources, pass.Source{Git: git})
	if cache.Spec.Suspend {
		o.Revisions = append(o.Revisions, known)
		return nil
	}
	now := v1alpha1.GitRevision{URL: git.URL, Ref: git.Ref, Commit: known.Commit, WarmedCommit: known.WarmedCommit}
	ref := gitrefs.Ref{Namespace: cache.Namespace, Remote: gitrepo.Remote{URL: git.URL, Ref: git.Ref}}
	if src.Git.SecretRef != nil {
		git.Secret = src.Git.SecretRef.Name
		secret, err := read.Object[corev1.Secret](ctx, r.Live, cache.Namespace, git.Secret)
		if err != nil {
			return err
		}
		if secret == nil {
			now.Message = "Secret " + git.Secret + " does not exist"
		} else {
			ref.Remote.Credentials = secret.Data
			ref.CredentialsVersion = strings.Join([]string{git.Secret, string(secret.UID), secret.ResourceVersion}, "\n")
		}
	}
	if now.Message == "" {
		commit, err := r.Refs.Lookup(o.Now, client.ObjectKeyFromObject(cache), ref)
		switch {
		case errors.Is(err, gitrefs.ErrPending): // its answer wakes a pass
			now = known
			o.SourceMissing = "repository " + git.URL + " to be read"
		case err != nil:
			now.Message = bounded.Text(err.Error(), 512)
		default:
			now.Commit, git.Commit = commit, commit
		}
	}
	if now.Message != "" {
		o.SourceMissing = unread(now)
	}
	o.Revisions = append(o.Revisions, now)
	return nil
}

// knownRevision is what the status says of a repository and ref.
func knownRevision(cache *v1alpha1.GoCache, git *pass.GitSource) v1alpha1.GitRevision {
	for _, r := range cache.Status.WarmUp.Revisions {
		if r.URL == git.URL && r.Ref == git.Ref {
			return r
		}
	}
	return v1alpha1.GitRevision{URL: git.URL, Ref: git.Ref}
}

// commits of the git sources, as a Job carries them.
func commits(sources []pass.Source) string {
	var all []string
	for _, src := range sources {
		if src.Git != nil {
			all = append(all, src.Git.Commit)
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
func (r *Reconciler) checkout(git *pass.GitSource, i int, dir string) (corev1.Container, []corev1.Volume, corev1.VolumeMount) {
	files := podspec.EmptyDir(fmt.Sprintf("source-%d", i))
	files.EmptyDir.SizeLimit = ptr.To(resource.MustParse(checkoutLimit))
	mount := corev1.VolumeMount{Name: files.Name, MountPath: dir}
	fetch := corev1.Container{
		Name: files.Name, Image: r.Images.Operator,
		Command:                  []string{"/gocache-agent", "fetch", "--url", git.URL, "--commit", git.Commit, "--dir", dir},
		VolumeMounts:             []corev1.VolumeMount{mount, {Name: "tmp", MountPath: "/tmp"}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	if git.Ref != "" {
		fetch.Command = append(fetch.Command, "--ref", git.Ref)
	}
	volumes := []corev1.Volume{files}
	if git.Secret != "" {
		secret := credentials(fmt.Sprintf("secret-%d", i), git.Secret)
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
func repositoryFlag(git *pass.GitSource, dir string) string {
	if len(git.Packages) == 0 {
		return dir
	}
	return dir + "=" + strings.Join(git.Packages, ",")
}
