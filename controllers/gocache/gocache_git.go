package gocache

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// lookTimeout bounds a look at a repository, and lookPatience how much of it
	// a pass waits for.
	lookTimeout  = 10 * time.Second
	lookPatience = 2 * time.Second
	// longestLookPause is the longest time between looks at a repository that
	// does not answer.
	longestLookPause = 15 * time.Minute
	// looksAtOnce bounds the looks at all repositories.
	looksAtOnce = 16
	// forgetAfter is when a repository that nobody asks for is forgotten.
	forgetAfter = time.Hour

	secretsDir = "/secrets"
	// checkoutLimit is how much of a node's disk the files of a repository take
	// at most, with what is sent of its history.
	checkoutLimit = "10Gi"
)

var (
	errNoAnswer = fmt.Errorf("it has not answered within %s", lookTimeout)
	errLooking  = errors.New("it is being read")
)

// lookout asks repositories which commit a ref names, each at most once in a
// while, however many passes want to know. A repository that hangs holds up no
// pass.
type lookout struct {
	mu    sync.Mutex
	seen  map[string]*sighting
	slots chan struct{}
}

// sighting is what is known of one ref of one repository.
type sighting struct {
	commit   string
	err      error // errLooking before the first answer
	failures int
	began    time.Time // the last look
	next     time.Time // when to look again
	wanted   time.Time
	looking  chan struct{} // closed when the look under way is over; nil: none is
}

// commit is the commit that a ref named at the last look. The key tells one
// remote, with its credentials, from another.
func (l *lookout) commit(ctx context.Context, now time.Time, key string, remote gitrepo.Remote) (string, error) {
	s := l.look(ctx, now, key, remote)
	l.mu.Lock()
	looking := s.looking
	l.mu.Unlock()
	if looking != nil {
		patience, cancel := context.WithTimeout(ctx, lookPatience)
		defer cancel()
		select {
		case <-looking:
		case <-patience.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.looking != nil && now.Sub(s.began) > lookTimeout {
		return "", errNoAnswer // to this look, whatever the last one said
	}
	return s.commit, s.err
}

// look begins a look when it is time for one and none is under way.
func (l *lookout) look(ctx context.Context, now time.Time, key string, remote gitrepo.Remote) *sighting {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen, l.slots = map[string]*sighting{}, make(chan struct{}, looksAtOnce)
	}
	for k, s := range l.seen {
		if s.looking == nil && now.Sub(s.wanted) > forgetAfter {
			delete(l.seen, k)
		}
	}
	s := l.seen[key]
	if s == nil {
		s = &sighting{err: errLooking}
		l.seen[key] = s
	}
	s.wanted = now
	if s.looking == nil && !now.Before(s.next) {
		s.looking, s.began = make(chan struct{}), now
		go l.ask(context.WithoutCancel(ctx), now, s, remote) // another pass takes the answer
	}
	return s
}

func (l *lookout) ask(ctx context.Context, now time.Time, s *sighting, remote gitrepo.Remote) {
	l.slots <- struct{}{} // each is given back within the timeout
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	commit, err := remote.Resolve(ctx)
	cancel()
	<-l.slots
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoAnswer
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.commit, s.err = commit, err
	if err != nil {
		s.failures++
	} else {
		s.failures = 0
	}
	s.next = now.Add(min(sourceInterval<<min(s.failures, 8), longestLookPause))
	close(s.looking)
	s.looking = nil
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
	remote := gitrepo.Remote{URL: git.url, Ref: git.ref}
	key := strings.Join([]string{git.url, git.ref}, "\n")
	if src.Git.SecretRef != nil {
		git.secret = src.Git.SecretRef.Name
		secret, err := read.Object[corev1.Secret](ctx, r.Live, s.cache.Namespace, git.secret)
		if err != nil {
			return err
		}
		if secret == nil {
			now.Message = "Secret " + git.secret + " does not exist"
		} else {
			remote.Credentials = secret.Data
			key = strings.Join([]string{key, s.cache.Namespace, git.secret, string(secret.UID), secret.ResourceVersion}, "\n")
		}
	}
	if now.Message == "" {
		commit, err := r.repositories.commit(ctx, s.now, key, remote)
		switch {
		case errors.Is(err, errLooking):
			now = known
			f.sourceMissing = "repository " + git.url + " to be read"
			s.wakeIn(lookTimeout)
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
