package integration

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/writer"
	"gocache.dev/operator/internal/testing/cluster"
)

// guessesAPassword: a Secret that was made for another purpose is named as the
// credentials of a router's clients, so that the router compares guesses with it.
func guessesAPassword(t *testing.T) {
	s := newStage(t)
	s.create(server.Client, &corev1.Secret{ObjectMeta: s.meta("database"), StringData: map[string]string{"username": "app", "password": "of the database"}})
	p := &v1alpha1.ModProxy{ObjectMeta: s.meta("edge"), Spec: v1alpha1.ModProxySpec{
		Instances: []v1alpha1.ProxyInstance{{Name: "up", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}}},
		Router: v1alpha1.ProxyRouter{
			TLS:        &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "own-certificate"}},
			ClientAuth: &v1alpha1.ClientAuth{SecretRef: v1alpha1.LocalReference{Name: "database"}},
		},
	}}
	s.create(s.attacker, p)
	s.reports(p, func() []metav1.Condition { return p.Status.Conditions }, "Secret database has no annotation")
	if c := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.StalledCondition); c == nil || c.Reason != v1alpha1.ReasonSecretRefused {
		t.Errorf("Stalled is %+v", c)
	}
	router := &appsv1.Deployment{ObjectMeta: s.meta(haproxy.RouterName("edge"))}
	s.waitFor("the router is there", func() error { return s.read(router) })
	for _, v := range router.Spec.Template.Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == "database" {
			t.Errorf("the router mounts the Secret: %+v", v)
		}
	}
}

// floodsWithReports: a service account that may report failed builds does so 50 times,
// while the check for the first report runs.
func floodsWithReports(t *testing.T) {
	const reports = 50
	s := newStage(t,
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"cacherequests"}, Verbs: []string{"create", "get"}},
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"gocaches"}, Verbs: []string{"report-failure"}})
	checks, held := map[types.UID]bool{}, true // both under the lock of the stage
	s.jobs(func(j *batchv1.Job) *cluster.Ending {
		if j.Labels[v1alpha1.ActionLabel] == string(writer.Integrity) {
			if checks[j.UID] = true; held {
				return nil
			}
		}
		return ends(reportIntact)(j)
	})
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(checks)
	}
	s.cache()
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	var last *v1alpha1.CacheRequest
	for n := range reports {
		last = &v1alpha1.CacheRequest{ObjectMeta: s.meta(fmt.Sprintf("report-%02d", n)), Spec: v1alpha1.CacheRequestSpec{
			TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportFailure}}
		s.create(s.attacker, last)
		if n == 0 {
			s.waitFor("the check for the first report runs", func() error {
				if count() == 0 {
					return fmt.Errorf("it does not")
				}
				return nil
			})
		}
	}
	// Times are stored in whole seconds: a check that begins in the second of a report
	// does not answer it.
	s.waitFor("the second of the last report is over", func() error {
		if since := time.Since(last.CreationTimestamp.Time); since < 2*time.Second {
			return fmt.Errorf("it was created %s ago", since)
		}
		return nil
	})
	s.mu.Lock()
	held = false
	s.mu.Unlock()
	s.waitFor("all reports are answered", func() error {
		for n := range reports {
			r := &v1alpha1.CacheRequest{ObjectMeta: s.meta(fmt.Sprintf("report-%02d", n))}
			if err := s.read(r); err != nil {
				return err
			}
			if r.Status.Outcome != v1alpha1.RequestSucceeded {
				return fmt.Errorf("%s: %q: %s", r.Name, r.Status.Outcome, r.Status.Message)
			}
		}
		return nil
	})
	if n := count(); n > 2 {
		t.Errorf("%d checks for %d reports, want 2 at most", n, reports)
	}
}
