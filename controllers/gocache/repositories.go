package gocache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/gitrefs"
	"gocache.dev/operator/internal/kube/pushes"
	"gocache.dev/operator/internal/kube/read"
)

// refs looks up which commit a ref of a git repository names, in the
// background: [gitrefs.Poller].
type refs interface {
	Lookup(now time.Time, object types.NamespacedName, ref gitrefs.Ref) (commit string, err error)
}

// receiver receives the push webhooks of git servers: [pushes.Receiver].
type receiver interface {
	Set(object types.NamespacedName, hooks []pushes.Hook)
	OnPush(pushes.Pushed)
}

// changedRefs is the source of passes over caches whose refs name another
// commit, whose repositories cannot be read any more, or whose repositories
// report a push.
func (r *Reconciler) changedRefs() ctrlsource.Source {
	poller := gitrefs.New(gitrefs.Options{Filter: r.Filter, Proxies: r.Proxies})
	r.Refs = poller
	if r.Pushes != nil {
		r.Pushes.OnPush(poller.Pushed)
	}
	return poller.Source()
}

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// readAgain is when a repository that did not answer is read again, without a time: a
// status that has one would be written at each attempt.
var readAgain = fmt.Sprintf("; it is read again within %d minutes", int(gitrefs.MaxInterval.Minutes()))

// observeGit asks a repository which commit is to be built. One that does not
// answer stays at the commit that is known, and a warm-up waits for it.
func (r *Reconciler) observeGit(ctx context.Context, o *pass.Observed, src v1alpha1.WarmUpSource) (found pass.Source, why string, err error) {
	cache := o.Stored
	git := &pass.GitSource{URL: src.Git.URL, Ref: src.Git.Ref, Sparse: src.Git.SparseCheckout, Submodules: src.Git.Submodules}
	known := knownRevision(cache, git)
	git.Commit = known.Commit
	if known.Webhook, err = r.observeWebhook(ctx, o, src.Git); err != nil {
		return pass.Source{}, "", err
	}
	found.Git = git
	if cache.Spec.Suspend {
		o.Revisions = append(o.Revisions, known)
		return found, "", nil
	}
	now := v1alpha1.GitRevision{URL: git.URL, Ref: git.Ref, Commit: known.Commit, WarmedCommit: known.WarmedCommit, Webhook: known.Webhook}
	ref := gitrefs.Ref{Namespace: cache.Namespace, Remote: gitrepo.Remote{URL: git.URL, Ref: git.Ref}}
	refused, missing, err := r.observeAccess(ctx, cache.Namespace, src.Git, git, &ref)
	if err != nil {
		return pass.Source{}, "", err
	}
	now.Message = bounded.Text(refused+missing, 512)
	if now.Message == "" {
		commit, err := r.Refs.Lookup(o.Now, client.ObjectKeyFromObject(cache), ref)
		switch {
		case errors.Is(err, gitrefs.ErrPending): // its answer wakes a pass
			now = known
			o.SourcePending = true
			o.SourceMissing = "repository " + redact.URL(git.URL) + " to be read"
		case err != nil:
			now.Message = bounded.Text(err.Error(), 512-len(readAgain)) + readAgain
		default:
			now.Commit, git.Commit = commit, commit
		}
	}
	if now.Message != "" {
		why = unread(now)
	}
	if git.Commit == "" || refused+missing != "" { // then nothing is to be fetched
		found.Missing = why
	}
	if refused != "" {
		o.SecretRefused = "repository " + redact.URL(git.URL) + " cannot be read: " + refused
	}
	o.Revisions = append(o.Revisions, now)
	return found, why, nil
}

// observeAccess reads what a repository is accessed with: credentials, as far as
// their Secret may be sent to its host, and the authority of its certificate, which
// the Secret holds if there is one.
// Refused is why the Secret may not be used, and missing is what does not exist.
func (r *Reconciler) observeAccess(ctx context.Context, namespace string, spec *v1alpha1.GitSource, git *pass.GitSource, ref *gitrefs.Ref) (refused, missing string, err error) {
	var versions []string
	if spec.SecretRef != nil {
		git.Secret = spec.SecretRef.Name
		secret, err := read.Object[corev1.Secret](ctx, r.Live, namespace, git.Secret)
		switch {
		case err != nil:
			return "", "", err
		case secret == nil:
			return "", "Secret " + git.Secret + " does not exist", nil
		}
		host, err := gitrepo.Host(git.URL)
		if err == nil {
			err = consent.ToHost(secret, host)
		}
		if err != nil {
			return err.Error(), "", nil //nolint:nilerr // a refused Secret is reported in the status: the pass did not fail
		}
		ref.Remote.Credentials = map[string][]byte{}
		for _, key := range gitrepo.Keys() {
			if value, ok := secret.Data[key]; ok {
				ref.Remote.Credentials[key] = value
			}
		}
		// No other authority: it decides which server passes for the host.
		ref.Remote.CA = secret.Data[gitrepo.CAKey]
		versions = append(versions, git.Secret, string(secret.UID), secret.ResourceVersion)
	}
	if spec.TrustedCA != nil && spec.SecretRef == nil {
		git.CA = spec.TrustedCA.ConfigMapRef.Name
		ca, err := read.Object[corev1.ConfigMap](ctx, r.Live, namespace, git.CA)
		switch {
		case err != nil:
			return "", "", err
		case ca == nil:
			return "", "ConfigMap " + git.CA + " does not exist", nil
		case ca.Data[pass.CAKey] == "":
			return "", "ConfigMap " + git.CA + " has no key " + pass.CAKey, nil
		}
		ref.Remote.CA = []byte(ca.Data[pass.CAKey])
		versions = append(versions, git.CA, string(ca.UID), ca.ResourceVersion)
	}
	ref.CredentialsVersion = strings.Join(versions, "\n")
	return "", "", nil
}

// observeWebhook reads the token of a push webhook, and collects the hook that
// accepts it. The Secret must allow the host of the repository, whose server has the
// token: a user who may create a GoCache, and may not read Secrets, could
// otherwise have guesses at the token of another Secret compared.
func (r *Reconciler) observeWebhook(ctx context.Context, o *pass.Observed, git *v1alpha1.GitSource) (*v1alpha1.GitWebhookStatus, error) {
	if git.Webhook == nil {
		return nil, nil //nolint:nilnil // no webhook, no status
	}
	refused := func(message string) (*v1alpha1.GitWebhookStatus, error) {
		return &v1alpha1.GitWebhookStatus{Message: bounded.Text(message, 512)}, nil
	}
	if r.Pushes == nil {
		return refused("the manager receives none: it runs without --push-bind-address")
	}
	name := git.Webhook.SecretRef.Name
	secret, err := read.Object[corev1.Secret](ctx, r.Live, o.Stored.Namespace, name)
	if err != nil {
		return nil, err
	}
	o.WaitsForSecret = true
	if secret == nil {
		return refused("Secret " + name + " does not exist")
	}
	host, err := gitrepo.Host(git.URL)
	if err == nil {
		err = consent.ToHost(secret, host)
	}
	if err != nil {
		return refused(err.Error())
	}
	token := bytes.TrimSpace(secret.Data[pass.TokenKey])
	if len(token) < pushes.MinToken {
		return refused(fmt.Sprintf("the key %s of Secret %s has %d characters, and needs %d at least", pass.TokenKey, name, len(token), pushes.MinToken))
	}
	o.WaitsForSecret = false
	hook := pushes.Hook{Path: pushes.Path(o.Stored.UID, git.URL), URL: git.URL, Token: token}
	o.Hooks = append(o.Hooks, hook)
	return &v1alpha1.GitWebhookStatus{Path: hook.Path}, nil
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
	text := "repository " + redact.URL(r.URL) + " cannot be read: " + r.Message
	if r.Commit != "" {
		text += "; commit " + short(r.Commit) + " stands"
	}
	return text
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 12)] }
