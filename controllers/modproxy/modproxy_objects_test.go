package modproxy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/testing/faults"
)

// TestStalledProxyProtects holds that a proxy which serves already goes on to
// protect its clients when its spec comes to be one that cannot be acted on.
func TestStalledProxyProtects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[1].Storage.StorageClassName = ptr.To("another") })
	w.blue.wrong = true
	w.tick(2)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "storageClassName")
	if !w.quarantined("blue") {
		t.Error("blue has corrupt content and is not quarantined")
	}
}

// TestAtRest holds that a proxy that serves costs the API server no write,
// however often it is probed and looked at.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.tick(10)
	before := len(w.mortal.Writes)
	w.tick(10)
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("at rest it wrote %q", wrote)
	}
	w.restart(faults.Point{})
	w.tick(10)
	if wrote := w.mortal.Writes; len(wrote) > 0 {
		t.Errorf("after a restart it wrote %q", wrote)
	}
}

// TestSuspend holds that nothing is made or changed, and that clients are still
// protected.
func TestSuspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Suspend = true
		p.Spec.Router.Replicas = 3
		p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: "red", Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}})
	})
	w.settle()
	if w.exists(&appsv1.StatefulSet{}, "goproxy-red") {
		t.Error("an instance was made")
	}
	var d appsv1.Deployment
	if w.exists(&d, "goproxy-router"); *d.Spec.Replicas != 2 {
		t.Errorf("the router has %d replicas", *d.Spec.Replicas)
	}
	w.blue.wrong = true
	w.tick(3)
	if !w.quarantined("blue") {
		t.Error("blue has corrupt content and is not quarantined")
	}
}

// TestAnswers holds that a spec decides whether modules go through the router's
// sidecar, and that answers of a checksum database always do.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	routed := func() (modules, database bool) {
		var config corev1.ConfigMap
		if !w.exists(&config, "goproxy-router-config") {
			t.Fatal("the router has no configuration")
		}
		text := config.Data["haproxy.cfg"]
		return strings.Contains(text, "use_backend answers if { path_sub /@v/ }"), strings.Contains(text, "use_backend answers if { path_beg /sumdb/ }")
	}
	if modules, database := routed(); !modules || !database {
		t.Errorf("by default modules go there: %v, the database: %v", modules, database)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router.ResponseVerification = v1alpha1.ResponseVerificationDisabled })
	w.settle()
	if modules, database := routed(); modules || !database {
		t.Errorf("with Passed modules go there: %v, the database: %v", modules, database)
	}
}

// TestForeignObjectsAreLeftAlone holds that an object of a needed name which has
// another owner is not changed, and is reported as a conflict.
func TestForeignObjectsAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	labels := map[string]string{"app": "theirs"}
	foreign := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy-blue"},
		Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}},
	}
	w.must(server.Client.Create(t.Context(), foreign))
	w.proxy()
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonConflict, "StatefulSet "+w.namespace+"/goproxy-blue exists and is not ours")
	var after appsv1.StatefulSet
	if !w.exists(&after, "goproxy-blue") || after.ResourceVersion != foreign.ResourceVersion {
		t.Error("it was changed")
	}
	if w.last.RequeueAfter < pass.Interval {
		t.Errorf("looks again after %v", w.last.RequeueAfter)
	}
}

// TestRemovedInstance holds that an instance that the spec no longer names goes
// from router and cluster, and that its store stays unless it was to go.
func TestRemovedInstance(t *testing.T) {
	t.Parallel()
	for policy, stays := range map[v1alpha1.DeletionPolicy]bool{v1alpha1.DeletionRetain: true, v1alpha1.DeletionDelete: false} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serving(func(s *v1alpha1.ModProxySpec) { s.Instances[0].Storage.DeletionPolicy = policy })
			w.edit(func(p *v1alpha1.ModProxy) {
				p.Spec.Instances = p.Spec.Instances[1:]
				p.Spec.Router.Replicas = 1
			})
			w.tick(1)
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves; 1/1")
			if w.exists(&appsv1.StatefulSet{}, "goproxy-blue") || w.exists(&corev1.Service{}, "goproxy-blue") {
				t.Error("the instance still runs")
			}
			if got := w.exists(&corev1.PersistentVolumeClaim{}, "goproxy-blue"); got != stays {
				t.Errorf("the store stays: %v, want %v", got, stays)
			}
			if w.exists(&policyv1.PodDisruptionBudget{}, "goproxy-router") {
				t.Error("a disruption budget of one replica keeps nodes from being drained")
			}
			var config corev1.ConfigMap
			if !w.exists(&config, "goproxy-router-config") || strings.Contains(config.Data["haproxy.cfg"], "blue") {
				t.Error("the router still knows it")
			}
		})
	}
}

// TestRemovedInstanceServesUntilTheRouterHasRolledOut holds that an instance
// that was removed from the spec keeps running until no replica of the router
// has it in its configuration.
func TestRemovedInstanceServesUntilTheRouterHasRolledOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.unready = true // the replicas with the new configuration do not become ready
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances = p.Spec.Instances[1:] })
	w.settle()
	if !w.exists(&appsv1.StatefulSet{}, "goproxy-blue") || !w.exists(&corev1.Service{}, "goproxy-blue") {
		t.Error("the instance was removed while replicas of the router still send clients there")
	}
	w.unready = false
	w.settle()
	if w.exists(&appsv1.StatefulSet{}, "goproxy-blue") || w.exists(&corev1.Service{}, "goproxy-blue") {
		t.Error("the instance still runs after the router has rolled out")
	}
}

// TestRenamedInstance holds that clients use the only instance, under whatever name, until
// the router has rolled out: its downloads are not ended, and it is used while the new one has
// no volume yet. One that is quarantined stays out.
func TestRenamedInstance(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]bool{"it serves": false, "it is quarantined": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serving()
			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances = p.Spec.Instances[:1] })
			w.tick(1)
			w.blue.wrong = wrong
			w.tick(1)
			w.unready = true // the replicas with the new configuration do not become ready
			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Name = "teal" })
			w.settle()
			want := route.Drain
			if wrong {
				want = route.Down
			}
			if got := w.published("blue"); got != string(want) {
				t.Errorf("the routers have blue as %s, want %s", got, want)
			}
			if !w.exists(&appsv1.StatefulSet{}, "goproxy-blue") {
				t.Error("blue was removed")
			}
			w.unready = false
			w.settle()
			w.tick(1)
			if got := w.published("blue"); got != "" || w.exists(&appsv1.StatefulSet{}, "goproxy-blue") {
				t.Errorf("blue stays after the router has rolled out: %s", got)
			}
		})
	}
}

// TestInstanceThatBecomesExternal holds that nothing of an instance stays that became
// external under its name: no pod, and no verdict on a store that the other server has not.
func TestInstanceThatBecomesExternal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.rotten = true
	w.blue.check(w.now)
	w.tick(1)
	if !w.quarantined("blue") {
		t.Fatalf("instances %+v", w.get().Status.Instances)
	}
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Instances[0].Storage, p.Spec.Instances[0].External = nil, &v1alpha1.ExternalInstance{URL: "https://blue.example.com"}
	})
	w.settle()
	w.tick(1)
	if w.quarantined("blue") || pass.Instance(w.get(), "blue").StoreCheck != nil {
		t.Errorf("instances %+v", w.get().Status.Instances)
	}
	if w.exists(&appsv1.StatefulSet{}, "goproxy-blue") || w.exists(&corev1.Service{}, "goproxy-blue") {
		t.Error("the pod of before still runs")
	}
}

// TestDeleted holds that no instance is probed for a proxy that is gone.
func TestDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.must(w.pass())
	if n := w.reconciler.prober.Proxies(); n != 0 {
		t.Errorf("%d proxies are probed", n)
	}
}
