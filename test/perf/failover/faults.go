package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// fault is one row of the table.
type fault struct {
	key, name string
	// before prepares, when no client works yet.
	before func(context.Context, *site) error
	inject func(context.Context, *site, *victim) error
	after  func(context.Context, *site) error
	// noInstance: there is no instance whose last answer counts.
	noInstance bool
	note       string
	// jobs are the commands of the clients; nil: those that need what is stored.
	jobs func(*workspace) func(n int) job
	// verify is called when all commands have ended, and returns what is wrong
	// besides failed commands.
	verify func(context.Context, *site) error
}

// victim is the bad instance's pod when the fault is injected.
type victim struct{ pod *corev1.Pod }

func (v *victim) ip() string { return v.pod.Status.PodIP }

func spoil(kind string) func(context.Context, *site, *victim) error {
	return func(ctx context.Context, s *site, v *victim) error {
		return s.command(ctx, v.ip(), "/set", url.Values{"kind": {kind}}, nil)
	}
}

func damage(kind string) func(context.Context, *site, *victim) error {
	return func(ctx context.Context, s *site, v *victim) error {
		return s.command(ctx, v.ip(), "/store", url.Values{"kind": {kind}}, nil)
	}
}

// signalled sends a signal to the instance's server. A container that is
// started again stays dead until the fault is over.
func signalled(signal syscall.Signal) func(context.Context, *site, *victim) error {
	return func(ctx context.Context, s *site, v *victim) error {
		if err := s.command(ctx, v.ip(), "/set", url.Values{"kind": {"dead"}, "later": {"1"}}, nil); err != nil {
			return err
		}
		return s.signal(signal, "/gocache-proxy", "--name\x00"+bad+"\x00")
	}
}

var faults = []fault{
	{key: "kill", name: "kill -9", inject: signalled(syscall.SIGKILL)},
	{key: "stop", name: "SIGSTOP: it hangs", inject: signalled(syscall.SIGSTOP)},
	{key: "hangbody", name: "hangs in the middle of each body", inject: spoil("hangbody")},
	{key: "500", name: "500 to everything", inject: spoil("500")},
	{key: "refuse", name: "refuses connections", inject: spoil("refuse")},
	{key: "full", name: "disk full", inject: damage("full")},
	{key: "truncate", name: "archives in the store truncated", inject: damage("truncate"), note: "it fetches them again"},
	{key: "invert", name: "a bit inverted in each archive in the store", inject: damage("invert"), note: "it fetches them again"},
	{key: "mod", name: ".mod files in the store altered", inject: damage("mod"), note: "it fetches them again"},
	{key: "othermod", name: "serves altered .mod", inject: spoil("othermod")},
	{key: "otherzip", name: "serves archives with another h1", inject: spoil("otherzip")},
	{key: "nosumdb", name: "checksum database unreachable through it", inject: spoil("nosumdb")},
	{key: "gone", name: "root of the store gone", inject: damage("gone")},
	{key: "router", name: "a router pod killed", inject: killRouter, noInstance: true},
	{key: "manager", name: "manager killed", inject: func(_ context.Context, s *site, _ *victim) error {
		return s.signal(syscall.SIGKILL, "/manager", "")
	}, noInstance: true, note: "SIGKILL, its Lease stays; on one node that is what its node's death is"},
	{key: "nomanager", name: "kill -9 while there is no manager", before: scaleManager(0), inject: signalled(syscall.SIGKILL), after: scaleManager(1)},
	{key: "noapi", name: "kill -9 while there is no API server", inject: func(ctx context.Context, s *site, v *victim) error {
		if err := s.component(ctx, "stop"); err != nil {
			return err
		}
		return signalled(syscall.SIGKILL)(ctx, s, v)
	}, after: func(ctx context.Context, s *site) error { return s.component(ctx, "start") }},
	{key: "rollout", name: "all pods of instances and router replaced, by another podTemplate", inject: replaceAll, after: replaced, noInstance: true},
	{key: "always500", name: "a module that always answers 500, asked 1,000 times", inject: askForTheImpossible, noInstance: true},
	{key: "both", name: "the pods of both instances deleted at once", inject: deleteBoth, noInstance: true},
	{key: "upstreamhangs", name: "upstream hangs", inject: upstreamDoes(hangs), after: upstreamDoesNot, noInstance: true,
		note: "counted: what is stored, and lists"},
	{key: "upstreamslow", name: "upstream sends an archive at 310 kB/s", before: startReading, inject: upstreamDoes(""), noInstance: true,
		jobs: func(w *workspace) func(int) job {
			return w.every(25, func(int) job { return w.download(w.upstream.slow) })
		},
		verify: readSteadily},
	{key: "nozip", name: "upstream gives no archives", inject: upstreamDoes(noArchives), after: upstreamDoesNot, noInstance: true,
		jobs: func(w *workspace) func(int) job { return w.every(4, w.graph) }, note: "counted: what is stored, lists, and the module graph of what is not"},
	{key: "third", name: "two of three instances, and the upstream, do not have the versions", before: addThird, inject: forgetThere, after: removeThird, noInstance: true},
	{key: "storesfull", name: "the stores of both full", inject: fillBoth, after: emptyBoth, noInstance: true,
		jobs: func(w *workspace) func(int) job {
			return w.every(4, func(n int) job { return w.download(w.upstream.cold[n%len(w.upstream.cold)]) })
		}},
	{key: "queries", name: "answers to queries stored, then both stores checked", inject: checkBoth, noInstance: true,
		jobs: func(w *workspace) func(int) job { return w.every(4, w.query) }, verify: noneQuarantined},
	{key: "flap", name: "fails for 5 s every 20 s", inject: flap, note: "see below"},
}

// try makes one fault under all client groups.
func (s *site) try(ctx context.Context, f fault) (r row, err error) {
	r = row{fault: f.name, last: -1, note: f.note}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		if f.after != nil {
			err = errors.Join(err, f.after(ctx, s))
		}
		err = errors.Join(err, s.restore(ctx))
	}()
	if f.before != nil {
		if err := f.before(ctx, s); err != nil {
			return r, err
		}
	}
	pod, err := s.pod(ctx, bad)
	if err != nil {
		return r, err
	}
	v := &victim{pod: pod}
	jobs := s.workspace.stored
	if f.jobs != nil {
		jobs = f.jobs(s.workspace)
	}
	groups := []*clientGroup{
		{name: "published", goproxy: s.published, commands: s.commands, parallel: s.parallel, timeout: timeout, job: jobs},
	}
	published := make(chan struct{})
	for _, baseline := range []struct{ name, goproxy string }{{"single", s.single}, {"plain", s.plain}, {"list", s.list}} {
		groups = append(groups, &clientGroup{name: baseline.name, goproxy: baseline.goproxy, commands: s.baselines, parallel: max(s.parallel/6, 1), timeout: baselineTimeout, until: published, job: jobs})
	}
	if f.key == "flap" {
		groups = groups[:1]
		groups[0].parallel = max(s.parallel/6, 1)
		groups[0].pause = s.flapFor * time.Duration(groups[0].parallel) / time.Duration(s.commands)
	}
	var once sync.Once
	injected := make(chan error, 1)
	var at time.Time
	groups[0].done = func(commands int) {
		if commands >= s.commands/5 {
			once.Do(func() {
				go func() {
					if big := s.command(ctx, v.ip(), "/big", nil, nil); big != nil {
						s.n.Print("no large body is under way: %v", big)
					}
					at = time.Now()
					s.n.Print("after %d commands: %s", commands, f.name)
					injected <- f.inject(ctx, s, v)
				}()
			})
		}
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	watched := s.watch(work, v)
	var workers sync.WaitGroup
	for _, c := range groups {
		workers.Go(func() {
			c.work(work, s.workspace)
			if c == groups[0] {
				close(published)
			}
		})
	}
	workers.Wait()
	if err := <-injected; err != nil {
		return r, fmt.Errorf("inject: %w", err)
	}
	stop()
	w := <-watched
	for _, c := range groups {
		r.groups = append(r.groups, *c)
	}
	r.quarantined, r.wrong = w.quarantined, w.after
	if f.note == "see below" {
		r.note = w.moved()
	}
	if f.verify != nil {
		if err := f.verify(ctx, s); err != nil {
			return r, err
		}
	}
	if f.after != nil { // the logs need the API server
		if err := f.after(context.WithoutCancel(ctx), s); err != nil {
			return r, err
		}
	}
	if f.noInstance || f.key == "flap" {
		return r, nil
	}
	err = scenario.Until(ctx, time.Minute, "the router's logs", func(ctx context.Context) (bool, string, error) {
		last, err := s.lastAnswer(ctx, at)
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // it comes back
		}
		r.last = max(last.Sub(at), 0)
		return true, "", nil
	})
	return r, err
}

// replaceAll changes the template of all pods, as an upgrade of the operator
// does.
func replaceAll(ctx context.Context, s *site, _ *victim) error {
	p, err := s.proxy(ctx)
	if err != nil {
		return err
	}
	p.Spec.PodTemplate = &v1alpha1.PodTemplate{Annotations: map[string]string{"example.com/replaced": time.Now().UTC().Format(time.RFC3339Nano)}}
	if err := s.Client.Update(ctx, p); err != nil {
		return fmt.Errorf("change the template: %w", err)
	}
	return nil
}

// replaced waits until nothing is left to be replaced.
func replaced(ctx context.Context, s *site) error {
	return scenario.Until(ctx, 3*time.Minute, "all pods to be replaced", func(ctx context.Context) (bool, string, error) {
		p, err := s.proxy(ctx)
		if err != nil {
			return false, "", err
		}
		under := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ReconcilingCondition)
		if under != nil {
			return false, under.Message, nil
		}
		return p.Status.ObservedGeneration == p.Generation, "not seen yet", nil
	})
}

// watched is the status while the clients worked.
type watched struct {
	quarantined bool
	after       int64 // answers through the router after the quarantine was read back
	moves       int
	relapses    int32
}

func (w watched) moved() string {
	return fmt.Sprintf("%d moves of weight, hold-down doubled %d times", w.moves, w.relapses)
}

// watch looks at the status until ctx ends.
func (s *site) watch(ctx context.Context, v *victim) <-chan watched {
	result := make(chan watched, 1)
	go func() {
		var w watched
		begin := int64(-1)
		var acted time.Time
		for ctx.Err() == nil {
			p, err := s.proxy(ctx)
			if err == nil {
				i := instanceOf(p, bad)
				if i.Failback != nil {
					w.relapses = max(w.relapses, i.Failback.Relapses)
				}
				if change := p.Status.LastWeightChange; change != nil && change.AppliedTime != nil && !change.AppliedTime.Time.Equal(acted) {
					acted = change.AppliedTime.Time
					w.moves++
				}
				if i.Quarantined != nil && i.ObservedWeight == 0 && begin < 0 && p.Status.LastWeightChange != nil && p.Status.LastWeightChange.ConfirmedTime != nil {
					w.quarantined, begin = true, s.routed(ctx, v)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		if begin >= 0 {
			w.after = s.routed(context.WithoutCancel(ctx), v) - begin
		}
		result <- w
	}()
	return result
}

// routed is how many answers the bad instance has given through the router.
func (s *site) routed(ctx context.Context, v *victim) int64 {
	var counts struct{ Routed int64 }
	if err := s.command(ctx, v.ip(), "/counts", nil, &counts); err != nil {
		return 0
	}
	return counts.Routed
}

// restore ends the fault: another pod on a store that is filled again, and
// the reinstatement of a quarantined one by a request.
func (s *site) restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	_ = s.signal(syscall.SIGCONT, "/gocache-proxy", "--name\x00"+bad+"\x00") // gone, perhaps
	err := scenario.Until(ctx, 2*time.Minute, "the fault to end", func(ctx context.Context) (bool, string, error) {
		pod, err := s.pod(ctx, bad)
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // it comes back
		}
		// A store that stays damaged is what the next pod begins with.
		for _, do := range []struct{ page, kind string }{{"/set", ""}, {"/store", "empty"}} {
			if err := s.command(ctx, pod.Status.PodIP, do.page, url.Values{"kind": {do.kind}}, nil); err != nil {
				return false, err.Error(), nil //nolint:nilerr // it starts again, perhaps
			}
		}
		err = client.IgnoreNotFound(s.Client.Delete(ctx, pod, client.GracePeriodSeconds(1)))
		return err == nil, fmt.Sprint(err), nil
	})
	if err != nil {
		return err
	}
	began := time.Now()
	var asked time.Time
	err = scenario.Until(ctx, 3*time.Minute, "the bad instance to be reinstated", func(ctx context.Context) (bool, string, error) {
		p, err := s.proxy(ctx)
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // it comes back
		}
		i := instanceOf(p, bad)
		if i.Healthy && i.Quarantined == nil && i.DesiredWeight == 100 {
			return time.Since(began) > 4*time.Second, "healthy", nil
		}
		// A reinstated instance is checked first, which takes a while.
		if len(i.FailingProbes) == 0 && time.Since(asked) > 30*time.Second {
			asked = time.Now()
			reinstate := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, GenerateName: "reinstate-"}}
			reinstate.Spec = v1alpha1.CacheRequestSpec{
				TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: p.Name}, Action: v1alpha1.RequestReinstate, Argument: bad,
			}
			_ = s.Client.Create(ctx, reinstate)
		}
		return false, fmt.Sprintf("healthy %v, quarantined %v, weight %d", i.Healthy, i.Quarantined != nil, i.DesiredWeight), nil
	})
	if err != nil {
		return err
	}
	return s.full(ctx)
}

// signal sends a signal to this cluster's processes of a program whose
// arguments hold a text.
func (s *site) signal(signal syscall.Signal, program, arguments string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	hit := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !strings.HasPrefix(string(cmdline), program+"\x00") || !strings.Contains(string(cmdline), arguments) {
			continue
		}
		group, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		if err != nil || !strings.Contains(string(group), "gocache-dev-"+s.cluster+"/") {
			continue
		}
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("signal %s, pid %d: %w", program, pid, err)
		}
		hit++
	}
	if hit == 0 {
		return fmt.Errorf("there is no process %s", program)
	}
	return nil
}

func (s *site) component(ctx context.Context, action string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(scenario.Root(), "bin", "devcluster"), "--name", s.cluster, "component", action, "kube-apiserver") //nolint:gosec // ours
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s the API server: %w: %s", action, err, out)
	}
	return nil
}

func killRouter(ctx context.Context, s *site, _ *victim) error {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": "gocache-router"}); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return errors.New("there is no router pod")
	}
	return s.Client.Delete(ctx, &pods.Items[0], client.GracePeriodSeconds(0))
}

func scaleManager(replicas int) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
			ObjectMeta: metav1.ObjectMeta{Namespace: scenario.SystemNamespace, Name: scenario.ManagerDeployment}}
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
		if err := s.Client.Patch(ctx, o, patch); err != nil {
			return fmt.Errorf("scale the manager: %w", err)
		}
		if replicas > 0 {
			return nil
		}
		return scenario.Until(ctx, time.Minute, "the manager to be gone", func(ctx context.Context) (bool, string, error) {
			var pods corev1.PodList
			err := s.Client.List(ctx, &pods, client.InNamespace(scenario.SystemNamespace))
			return len(pods.Items) == 0, fmt.Sprintf("%d pods", len(pods.Items)), err
		})
	}
}

// askForTheImpossible asks 1,000 times for a module that both instances answer
// 500 for.
func askForTheImpossible(ctx context.Context, s *site, _ *victim) error {
	for range 1000 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.single+"/example.com/always500/@v/list", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := s.http.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusInternalServerError {
			return fmt.Errorf("the module that always fails was answered %s", resp.Status)
		}
	}
	return nil
}

// flap lets the bad instance refuse for 5 s every 20 s.
func flap(ctx context.Context, s *site, v *victim) error {
	deadline := time.Now().Add(s.flapFor)
	for time.Now().Before(deadline) {
		for _, step := range []struct {
			kind string
			wait time.Duration
		}{{"refuse", 5 * time.Second}, {"", 15 * time.Second}} {
			if err := s.command(ctx, v.ip(), "/set", url.Values{"kind": {step.kind}}, nil); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(step.wait):
			}
		}
	}
	return nil
}
