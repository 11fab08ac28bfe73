package diff

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/temporary"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/volume"
)

const (
	// container of the Job.
	container = "diff"
	// maxLine bounds a line of its log.
	maxLine = 64 << 10
)

// Options of a comparison.
type Options struct {
	// From and To are names of CacheSnapshots.
	From, To string
	// Image finds the image with the agent, if a Job is needed.
	Image func(context.Context) (string, error)
	// Timeout of the whole comparison.
	Timeout time.Duration
	// Progress is called with each step that begins.
	Progress func(text string)
	// Logs opens the log of a container from its beginning until it ends.
	Logs func(ctx context.Context, pod *corev1.Pod, options *corev1.PodLogOptions) (io.ReadCloser, error)
}

// Result is the outcome of a comparison.
type Result struct {
	manifest.Comparison `json:",inline"`
	// Listed is how many changes were passed on.
	Listed int `json:"-"`
	// Checked reports that both snapshots are Intact and the same, so that no clone
	// was read.
	Checked bool `json:"-"`
	// Notes are remarks about the manifests, for the reader of the result.
	Notes []string `json:"notes,omitempty"`
}

// Run compares two snapshots and calls each for every change, in the order of the
// manifests. The caller removes the set.
func Run(ctx context.Context, set *temporary.Set, o Options, each func(manifest.Change) error) (Result, error) {
	var result Result
	from, to := &v1alpha1.CacheSnapshot{}, &v1alpha1.CacheSnapshot{}
	for name, into := range map[string]*v1alpha1.CacheSnapshot{o.From: from, o.To: to} {
		if err := read(ctx, set.Client, set.Namespace, name, into); err != nil {
			return result, err
		}
	}
	if o.From == o.To { // it was read into the last of the two
		from = to
	}
	if digest := same(from, to); digest != "" {
		result.From, result.To, result.Checked = digest, digest, true
		return result, nil
	}
	image, err := o.Image(ctx)
	if err != nil {
		return result, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	pod, err := start(ctx, set, o, image, from, to)
	if err != nil {
		return result, err
	}
	result.Listed, err = list(ctx, o, pod, each)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return result, set.Explain(ctx, pod, fmt.Errorf("not within %s: pod %s is still comparing", o.Timeout, pod.Name))
	}
	if err != nil {
		return result, err
	}
	message := ""
	if _, err := set.JobPod(ctx, o.Timeout, func(pod *corev1.Pod) (ended bool, err error) {
		message, _, ended = temporary.Result(pod)
		return ended, nil
	}); err != nil {
		return result, err
	}
	// A difference under the same name is a failure of the agent, with a report.
	if err := json.Unmarshal([]byte(message), &result.Comparison); err != nil || result.From == "" {
		return result, fmt.Errorf("the manifests of %s and %s cannot be compared: %s", o.From, o.To, message)
	}
	result.Notes = notes(o, result, from, to)
	return result, nil
}

// read reads a snapshot that can be cloned.
func read(ctx context.Context, c client.Reader, namespace, name string, into *v1alpha1.CacheSnapshot) error {
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
		return err
	}
	switch {
	case into.Spec.SourceRef.Kind != v1alpha1.GoCacheKind:
		return fmt.Errorf("CacheSnapshot %s is of a %s: only snapshots of a GoCache have a manifest", name, into.Spec.SourceRef.Kind)
	case into.Status.Source == nil || into.Status.VolumeSnapshotName == "":
		return fmt.Errorf("CacheSnapshot %s is not created yet: see kubectl gocache status -n %s", name, namespace)
	}
	return nil
}

// same is the digest of two snapshots whose checks have found the same content;
// empty: they differ, or were not checked.
func same(from, to *v1alpha1.CacheSnapshot) string {
	a, b := from.Status.Verification, to.Status.Verification
	if a.Verdict != v1alpha1.VerdictIntact || b.Verdict != v1alpha1.VerdictIntact || a.Digest != b.Digest {
		return ""
	}
	return a.Digest
}

// start creates a clone of each snapshot and a Job that compares them, and waits
// until that runs, or has ended.
func start(ctx context.Context, set *temporary.Set, o Options, image string, from, to *v1alpha1.CacheSnapshot) (*corev1.Pod, error) {
	spec := corev1.PodSpec{SecurityContext: podspec.Security(from.Status.Source.Ownership)}
	podspec.Place(&spec, from.Spec.PodTemplate, "", nil)
	c := corev1.Container{Name: container, Image: image}
	// The last line of its log has the reason why it could not compare.
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	manifest := func(side string) string {
		return path.Join("/", side, manifest.RecordsDir, manifest.Name)
	}
	c.Command = agentcommand.InImage(agentcommand.Diff{From: manifest("from"), To: manifest("to")})
	sides := []struct {
		name string
		of   *v1alpha1.CacheSnapshot
	}{{"from", from}, {"to", to}}
	for _, side := range sides {
		dir := "/" + side.name
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: side.name, MountPath: dir, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, podspec.Claim(side.name, set.Name+"-"+side.name))
	}
	spec.Containers = []corev1.Container{c}
	o.Progress(fmt.Sprintf("comparing clones of %s and %s", from.Name, to.Name))
	if err := set.Begin(ctx, spec, o.Timeout); err != nil {
		return nil, err
	}
	claims := make([]*corev1.PersistentVolumeClaim, 0, len(sides))
	for _, side := range sides {
		source := side.of.Status.Source
		claim := volume.Claim{Name: set.Name + "-" + side.name, Size: volume.Larger(side.of.Status.RestoreSize, source.Capacity), Snapshot: side.of.Status.VolumeSnapshotName}
		if source.StorageClassName != "" {
			claim.Class = ptr.To(source.StorageClassName)
		}
		claims = append(claims, claim.Object())
		if err := set.Create(ctx, claims[len(claims)-1]); err != nil {
			return nil, err
		}
	}
	reported := ""
	pod, err := set.JobPod(ctx, o.Timeout, func(pod *corev1.Pod) (bool, error) {
		_, _, ended := temporary.Result(pod)
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Running != nil {
				return true, nil
			}
		}
		if saw := temporary.Seen(pod); saw != reported && !ended {
			o.Progress(saw)
			reported = saw
		}
		return ended, nil
	})
	if err != nil { // the warning of the provisioner is the cause of a pod that waits
		for _, claim := range claims {
			err = set.Explain(ctx, claim, err)
		}
	}
	return pod, err
}

// list passes on the changes that the log has. Other lines are for people.
func list(ctx context.Context, o Options, pod *corev1.Pod, each func(manifest.Change) error) (n int, err error) {
	log, err := o.Logs(ctx, pod, &corev1.PodLogOptions{Container: container, Follow: true})
	if err != nil {
		return 0, fmt.Errorf("logs of pod %s: %w", pod.Name, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var change manifest.Change
		if json.Unmarshal(lines.Bytes(), &change) != nil || change.Kind == "" {
			continue
		}
		n++
		if err := each(change); err != nil {
			return n, err
		}
	}
	return n, lines.Err()
}

// notes are what makes a comparison incomplete, or the manifests doubtful.
func notes(o Options, r Result, from, to *v1alpha1.CacheSnapshot) []string {
	var all []string
	total := 0
	for _, n := range r.Counts {
		total += n
	}
	if r.Listed != total {
		all = append(all, fmt.Sprintf("%d of %d changes were read: the log of the Job was truncated", r.Listed, total))
	}
	for _, side := range []struct {
		name, digest string
		of           *v1alpha1.CacheSnapshot
	}{{o.From, r.From, from}, {o.To, r.To, to}} {
		sealed, v := side.of.Status.Source.SealedDigest, side.of.Status.Verification
		if sealed != "" && sealed != side.digest && side.of.Status.Repair == nil {
			all = append(all, fmt.Sprintf("the manifest of %s is not the one that its writer recorded (%s)", side.name, sealed))
		}
		if v.Verdict != v1alpha1.VerdictIntact {
			verdict := string(v.Verdict)
			if verdict == "" {
				verdict = "not verified"
			}
			all = append(all, fmt.Sprintf("%s is %s: its volume may hold other content than its manifest lists", side.name, verdict))
		}
	}
	return all
}
