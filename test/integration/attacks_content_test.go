package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/cluster"
)

// content is what the volume of a cache holds: caches of a real go command, with
// the records of a writer. The Jobs that check it run the real agent.
type content struct {
	root, agent string
	digest      string
}

// newContent is what a warm-up leaves on the volume of the cache of a stage, which
// is warmed and has a verified snapshot.
func newContent(s *stage) *content {
	s.Helper()
	c := &content{root: s.TempDir(), agent: filepath.Join(s.TempDir(), "gocache-agent")}
	if out, err := exec.Command("go", "build", "-o", c.agent, "gocache.dev/operator/internal/cmd/gocache-agent").CombinedOutput(); err != nil {
		s.Fatalf("build the agent: %v\n%s", err, out)
	}
	tree := cachetree.New(s)
	for name, dir := range map[string]string{"mod": tree.ModCache, "build": tree.BuildCache} {
		if err := os.Rename(dir, filepath.Join(c.root, name)); err != nil {
			s.Fatal(err)
		}
	}
	s.Cleanup(func() { cachetree.RemoveAll(s, c.path("mod")) })
	if err := os.Mkdir(c.path(".gocache"), 0o700); err != nil {
		s.Fatal(err)
	}
	report := c.run(s, "verify", "--json", "--modcache", c.path("mod"), "--buildcache", c.path("build"), "--manifest", c.path(".gocache/manifest.zst"))
	var verdict struct{ Digest string }
	if err := json.Unmarshal([]byte(report.Message), &verdict); err != nil || verdict.Digest == "" {
		s.Fatalf("the agent reports %q: %v", report.Message, err)
	}
	c.digest = verdict.Digest
	s.jobs(func(j *batchv1.Job) *cluster.Ending {
		if j.Labels[v1alpha1.SnapshotLabel] != "" {
			return c.check(s, j)
		}
		return &cluster.Ending{Message: fmt.Sprintf(`{"outcome":"Succeeded","goVersion":"go1.26.8 linux/amd64","modules":3,"manifestDigest":%q}`, c.digest)}
	})
	cache := s.cache()
	s.waitFor("the cache is warmed", func() error {
		if err := s.read(cache); err != nil {
			return err
		}
		if cache.Status.ManifestDigest != c.digest {
			return fmt.Errorf("its status is %+v", cache.Status)
		}
		return nil
	})
	s.verified(s.snapshot("good"))
	return c
}

func (c *content) path(rel string) string { return filepath.Join(c.root, filepath.FromSlash(rel)) }

// check runs the command of a Job on what a clone of the volume holds.
func (c *content) check(s *stage, j *batchv1.Job) *cluster.Ending {
	s.Helper()
	container := j.Spec.Template.Spec.Containers[0]
	var args []string
	for _, arg := range container.Command[1:] {
		for _, m := range container.VolumeMounts {
			if rest, ok := strings.CutPrefix(arg, m.MountPath); ok && m.Name == "clone" {
				arg = c.root + rest
			}
		}
		args = append(args, arg)
	}
	return c.run(s, args...)
}

// run runs the agent, and returns how its container ends.
func (c *content) run(s *stage, args ...string) *cluster.Ending {
	s.Helper()
	log := filepath.Join(s.TempDir(), "termination-log")
	for i, arg := range args {
		if arg == corev1.TerminationMessagePathDefault {
			args[i] = log
		}
	}
	cmd := exec.Command(c.agent, args...)
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		s.Fatalf("gocache-agent %q: %v", args, err)
	}
	if report, err := os.ReadFile(log); err == nil {
		out = report
	}
	return &cluster.Ending{Exit: int32(cmd.ProcessState.ExitCode()), Message: string(out)}
}

// write is what a pod does that mounts the PersistentVolumeClaim of the cache, which
// the rights of the attacker allow.
func (c *content) write(s *stage, change func()) {
	s.Helper()
	pod := &corev1.Pod{ObjectMeta: s.meta("build"), Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "sh", Image: "busybox", VolumeMounts: []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}}}},
		Volumes: []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}}},
	}}
	s.create(s.attacker, pod)
	change()
	if err := s.attacker.Delete(s.Context(), pod); err != nil {
		s.Fatal(err)
	}
}

// notOffered creates a snapshot of what was changed, and holds that it is Corrupt and
// that consumers of the cache go on to get the one before.
func (c *content) notOffered(s *stage) {
	s.Helper()
	o := s.snapshot("changed")
	s.refused(o)
	if o.Status.Verification.Verdict != v1alpha1.VerdictCorrupt {
		s.Errorf("the verdict is %+v", o.Status.Verification)
	}
	s.cloneOf(s.consumer("data", v1alpha1.GoCacheKind, "ci"), "good")
}

// cloneOf waits until a PersistentVolumeClaim is filled, and holds from which
// snapshot.
func (s *stage) cloneOf(pvc *corev1.PersistentVolumeClaim, snapshot string) {
	s.Helper()
	s.waitFor("PersistentVolumeClaim "+pvc.Name+" is filled", func() error { return bound(s, pvc.Name) })
	if err := s.read(pvc); err != nil {
		s.Fatal(err)
	}
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName}}
	if err := s.read(pv); err != nil {
		s.Fatal(err)
	}
	if from := pv.Annotations[v1alpha1.PopulatedFromAnnotation]; from != snapshot {
		s.Errorf("PersistentVolumeClaim %s is a clone of %q, want %q", pvc.Name, from, snapshot)
	}
}

// changesABuild: an action entry of the build cache is made to name the output of
// another action, which is intact: a build would link code that was never compiled
// from its source.
func changesABuild(t *testing.T) {
	s := newStage(t, runner...)
	c := newContent(s)
	c.write(s, func() { repoint(t, c.path("build")) })
	c.notOffered(s)
}

// repoint lets one action entry of a build cache name the output of another.
func repoint(t *testing.T, cache string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(cache, "??", "*-a"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d action entries, %v", len(names), err)
	}
	var to []string
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(data)) // v1, action, output, size, time
		switch {
		case to == nil:
			to = fields
		case fields[2] != to[2]:
			if err := os.WriteFile(name, []byte(fmt.Sprintf("v1 %s %s %20s %20s\n", fields[1], to[2], to[3], fields[4])), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("all actions have the same output")
}

// plantsARepository: a git repository whose configuration runs a command is where
// the go command looks for its clones of repositories.
func plantsARepository(t *testing.T) {
	s := newStage(t, runner...)
	c := newContent(s)
	c.write(s, func() {
		dir := c.path("mod/cache/vcs/" + strings.Repeat("ab", 32))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte("[core]\n\tbare = true\n\tsshCommand = touch /tmp/attacked\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	c.notOffered(s)
}

// verifiesLess: a snapshot that is created by hand, with the label of those that the
// policy creates, and without the trust that the policy requires.
func verifiesLess(t *testing.T) {
	s := newStage(t)
	s.create(s.attacker, &corev1.ConfigMap{ObjectMeta: s.meta("sums"), Data: map[string]string{"go.sum": "example.com/a v1.0.0 h1:AAAA\n"}})
	s.cache(func(c *v1alpha1.GoCache) {
		c.Spec.Snapshots.Verification.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	})
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	weak := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: "weak", Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}
	s.create(s.attacker, weak)
	s.verified(weak)
	pvc := s.consumer("by-cache", v1alpha1.GoCacheKind, "ci")
	// By its own name it is a source; it is used when the other PVC had its time.
	s.cloneOf(s.consumer("by-name", v1alpha1.CacheSnapshotKind, "weak"), "weak")
	s.unbound(pvc)
}

// runsOnlyARouter: a proxy has external instances alone, which name no user for
// its pods. The image of HAProxy names its user by a word, and the kubelet starts
// no such container that must not be root.
func runsOnlyARouter(t *testing.T) {
	s := newStage(t)
	s.create(s.attacker, &v1alpha1.ModProxy{ObjectMeta: s.meta("edge"), Spec: v1alpha1.ModProxySpec{
		Instances: []v1alpha1.ProxyInstance{{Name: "up", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}}}}})
	router := &appsv1.Deployment{ObjectMeta: s.meta(haproxy.RouterName("edge"))}
	s.waitFor("the router is there", func() error { return s.read(router) })
	of := router.Spec.Template.Spec.SecurityContext
	if of == nil || of.RunAsUser == nil || *of.RunAsUser == 0 || of.RunAsNonRoot == nil || !*of.RunAsNonRoot {
		t.Errorf("the kubelet starts no container of the router: %+v", of)
	}
}
