package gocache

import (
	"context"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/gitrefs"
	"gocache.dev/operator/internal/kube/read"
)

// refs looks up which commit a ref of a git repository names, in the
// background: [gitrefs.Poller].
type refs interface {
	Lookup(now time.Time, object types.NamespacedName, ref gitrefs.Ref) (commit string, err error)
}

// changedRefs is the source of passes over caches whose refs name another
// commit, or whose repositories cannot be read any more.
func (r *Reconciler) changedRefs() ctrlsource.Source {
	poller := gitrefs.New(gitrefs.Options{Filter: r.Filter})
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

// knownRevision is what the status holds of a repository and ref.
func knownRevision(cache *v1alpha1.GoCache, git *pass.GitSource) v1alpha1.GitRevision {
	for _, r := range cache.Status.WarmUp.Revisions {
		if r.URL == git.URL && r.Ref == git.Ref {
			return r
		}
	}
	return v1alpha1.GitRevision{URL: git.URL, Ref: git.Ref}
}

// unread describes which repository could not be read, and why.
func unread(r v1alpha1.GitRevision) string {
	text := "repository " + r.URL + " cannot be read: " + r.Message
	if r.Commit != "" {
		text += "; commit " + short(r.Commit) + " stands"
	}
	return text
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 12)] }
