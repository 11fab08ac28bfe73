package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/test/scenario"
)

// fixture is one test in the namespace of one scenario.
type fixture struct {
	*testing.T
	*scenario.Scenario
	ctx context.Context
	// log of a manager that runs on this machine; empty: it runs in the cluster.
	managerLog string
	// diagnosed: a subtest has shown everything already.
	diagnosed bool
}

// A test is parallel if nothing that it does disturbs another one: it touches no
// manager, no node, no proxy of others, and of the shared caches it changes nothing
// that another parallel test looks at. It begins when all others are through, and
// waits beside its like.

// onFull runs in the namespace with all samples.
func onFull(t *testing.T) *fixture {
	t.Helper()
	return play(t, suite.full)
}

// onSmall runs in the namespace with the small cache.
func onSmall(t *testing.T) *fixture {
	t.Helper()
	return play(t, suite.small)
}

// onOwn runs on a small cache of its own, whose namespace goes with the test.
func onOwn(t *testing.T, name string) *fixture {
	t.Helper()
	namespace := fmt.Sprintf("%s-%x", name, time.Now().Unix()&0xfffff)
	return inOwn(t, namespace, func() (*scenario.Scenario, error) {
		return suite.cluster.BeginSmall(suite.ctx, namespace, suite.narrator)
	})
}

// inOwn runs in a namespace that goes with the test.
func inOwn(t *testing.T, namespace string, begin func() (*scenario.Scenario, error)) *fixture {
	t.Helper()
	s := play(t, begin)
	t.Cleanup(func() {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if err := suite.cluster.Client.Delete(suite.ctx, ns); client.IgnoreNotFound(err) != nil {
			t.Errorf("remove namespace %s: %v", namespace, err)
		}
	})
	return s
}

func play(t *testing.T, begin func() (*scenario.Scenario, error)) *fixture {
	t.Helper()
	if suite.ctx.Err() != nil {
		t.Fatal("the tests are being stopped")
	}
	recorded, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(suite.ctx)
	s := &fixture{T: t, Scenario: recorded, ctx: ctx}
	began := time.Now()
	t.Cleanup(func() {
		if t.Failed() && !s.diagnosed {
			s.diagnose()
		}
		cancel()
		suite.narrator.Print("%s took %s", t.Name(), time.Since(began).Round(100*time.Millisecond))
	})
	suite.narrator.Chapter("%s", t.Name())
	return s
}

// sub is the same fixture in a subtest.
func (s *fixture) sub(name string, do func(*fixture)) {
	s.Helper()
	s.Run(name, func(t *testing.T) {
		part := play(t, func() (*scenario.Scenario, error) { return s.Scenario, nil })
		part.managerLog = s.managerLog
		defer func() { s.diagnosed = s.diagnosed || t.Failed() }()
		do(part)
	})
}

// must ends the test at an error.
func (s *fixture) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// get reads an object of the fixture's namespace.
func (s *fixture) get(name string, into client.Object) {
	s.Helper()
	s.must(s.Client.Get(s.ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, into))
}

// until waits for something, at most a limit.
func (s *fixture) until(limit time.Duration, what string, holds func(context.Context) (ok bool, saw string, err error)) {
	s.Helper()
	s.must(scenario.Until(s.ctx, limit, what, holds))
}

// recorded waits until an object has events of all the reasons.
func (s *fixture) recorded(kind, name string, reasons ...string) {
	s.Helper()
	s.until(20*time.Second, fmt.Sprintf("events %v of %s %s", reasons, kind, name), func(ctx context.Context) (bool, string, error) {
		seen, err := s.reasons(ctx, kind, name)
		for _, r := range reasons {
			if !slices.Contains(seen, r) {
				return false, fmt.Sprintf("only %v", seen), err
			}
		}
		return true, "", err
	})
}

// reasons are those of all events of an object.
func (s *fixture) reasons(ctx context.Context, kind, name string) ([]string, error) {
	var list corev1.EventList
	err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingFields{"involvedObject.kind": kind, "involvedObject.name": name})
	var reasons []string
	for i := range list.Items {
		reasons = append(reasons, list.Items[i].Reason)
	}
	return reasons, err
}

// condition is the status and reason of a condition, such as "True Intact".
func condition(all []metav1.Condition, kind string) string {
	if c := meta.FindStatusCondition(all, kind); c != nil {
		return string(c.Status) + " " + c.Reason
	}
	return "absent"
}

// consume starts a pod that looks into PVCs and ends. It succeeds when each
// holds a filled cache.
func (s *fixture) consume(name string, claims ...string) {
	s.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	script := "set -e\n"
	var mounts []corev1.VolumeMount
	for i, claim := range claims {
		volume, dir := fmt.Sprintf("v%d", i), fmt.Sprintf("/caches/%d", i)
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: dir})
		script += fmt.Sprintf("test -d %[1]s/mod/cache/download && test -d %[1]s/build/00\n", dir)
	}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
		FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch), RunAsNonRoot: ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers = []corev1.Container{{
		Name: "look", Image: s.Image, Command: []string{"sh", "-c", script}, VolumeMounts: mounts,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}}
	s.must(s.Client.Create(s.ctx, pod))
}

// consumed waits until a pod of consume has found what it looked for.
func (s *fixture) consumed(name string, limit time.Duration) {
	s.Helper()
	var pod corev1.Pod
	s.until(limit, "pod "+name+" to succeed", func(ctx context.Context) (bool, string, error) {
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &pod); err != nil {
			return false, "", err
		}
		if pod.Status.Phase == corev1.PodFailed {
			return false, "", fmt.Errorf("pod %s failed: a volume holds no cache", name)
		}
		return pod.Status.Phase == corev1.PodSucceeded, string(pod.Status.Phase), nil
	})
}

// discard deletes a pod of consume and PVCs, and waits until both are gone.
func (s *fixture) discard(pod string, claims ...string) {
	s.Helper()
	objects := []client.Object{&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: pod}}}
	for _, claim := range claims {
		objects = append(objects, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: claim}})
	}
	for _, o := range objects {
		s.must(client.IgnoreNotFound(s.Client.Delete(s.ctx, o, client.GracePeriodSeconds(0))))
	}
	for _, o := range objects {
		s.until(time.Minute, o.GetName()+" to be gone", func(ctx context.Context) (bool, string, error) {
			err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
			return client.IgnoreNotFound(err) == nil && err != nil, "it exists", client.IgnoreNotFound(err)
		})
	}
}

// diagnose shows what a person would look at first.
func (s *fixture) diagnose() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 30*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "gocaching", "-o", "yaml"},
		{"get", "pods,jobs,pvc,volumesnapshots", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
	} {
		out, err := s.KubectlOutput(ctx, append([]string{"-n", s.Namespace}, args...)...)
		s.Logf("kubectl -n %s %s: %v\n%s", s.Namespace, strings.Join(args, " "), err, out)
	}
	if s.managerLog != "" {
		text, err := os.ReadFile(filepath.Clean(s.managerLog))
		s.Logf("the manager's log: %v\n%s", err, text[max(0, len(text)-8<<10):])
		return
	}
	out, err := s.KubectlOutput(ctx, "-n", scenario.SystemNamespace, "logs", "deployment/"+scenario.ManagerDeployment, "--tail=60")
	s.Logf("the manager's log: %v\n%s", err, out)
}
