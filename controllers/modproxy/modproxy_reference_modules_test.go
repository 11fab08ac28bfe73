package modproxy

import (
	"strings"
	"testing"

	"golang.org/x/mod/module"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/faults"
)

// noReferenceModules are named.
func noReferenceModules(p *v1alpha1.ModProxySpec) { p.Probes.ReferenceModules = nil }

// stored is the reference module as the agent beside a store names it.
func stored(t *testing.T) []probe.Sampled {
	t.Helper()
	mod, err := goproxy.SumMod([]byte("module example.com/c\n"))
	if err != nil {
		t.Fatal(err)
	}
	return []probe.Sampled{{Version: module.Version{Path: testModule.Module, Version: testModule.Version}, Zip: testModule.Sum, Mod: mod}}
}

// TestReferenceModulesOfTheStore holds that content is checked although the spec
// names no reference module, as soon as the stores have any, and that no instance
// ever has to fetch one.
func TestReferenceModulesOfTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(noReferenceModules)
	w.settle()
	w.tick(2)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "the content that blue and green serve is not checked, and nothing shows whether the upstream serves modules: spec.probes.referenceModules has no sum, and no module of its store is known")
	w.green.sample = stored(t)
	w.tick(2)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "the content that blue serves is not checked")
	w.blue.sample = stored(t)
	w.tick(2)
	if ready := w.get().Status.Conditions; strings.Contains(ready[0].Message, "not checked") {
		t.Errorf("%+v", ready)
	}
	w.blue.wrong = true
	w.tick(1)
	if !w.quarantined("blue") || w.quarantined("green") {
		t.Errorf("instances %+v", w.get().Status.Instances)
	}
	if n := w.blue.fetches + w.green.fetches; n != 0 {
		t.Errorf("%d requests would have made an instance fetch", n)
	}
}

// TestUpstreamNotRequested holds when Ready states that no probe requests a module of
// the upstream.
func TestUpstreamNotRequested(t *testing.T) {
	const unchecked, upstream = "serves is not checked", "nothing shows whether the upstream serves modules"
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.ModProxySpec)
		stated  []string
		without []string
	}{
		"no reference module":             {noReferenceModules, []string{unchecked, upstream}, nil},
		"a reference module without sums": {comparing, []string{unchecked}, []string{upstream}},
		"no upstream": {func(p *v1alpha1.ModProxySpec) {
			noReferenceModules(p)
			p.Upstream = &v1alpha1.ProxyUpstream{Proxy: "off"}
		}, []string{unchecked}, []string{upstream}},
		"no probe of checksums": {func(p *v1alpha1.ModProxySpec) {
			noReferenceModules(p)
			p.Probes.Kinds = []v1alpha1.ProbeKind{v1alpha1.ProbeReady}
		}, nil, []string{unchecked, upstream}},
	} {
		p := &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{Instances: []v1alpha1.ProxyInstance{{Name: "blue"}}}}
		p.Spec.Probes.Kinds = []v1alpha1.ProbeKind{v1alpha1.ProbeReady, v1alpha1.ProbeChecksum}
		tt.change(&p.Spec)
		message := serving(p, pass.Observed{})
		for _, want := range tt.stated {
			if !strings.Contains(message, want) {
				t.Errorf("%s: %q lacks %q", name, message, want)
			}
		}
		for _, not := range tt.without {
			if strings.Contains(message, not) {
				t.Errorf("%s: %q states %q", name, message, not)
			}
		}
	}
}

// TestProofWithoutReferenceModules holds that an instance whose store has no
// module to request is proven by a check of it, and does not wait for ever.
func TestProofWithoutReferenceModules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(noReferenceModules)
	w.settle()
	w.blue.sample = stored(t)
	w.tick(2)
	w.blue.wrong = true
	w.tick(1)
	if !w.quarantined("blue") {
		t.Fatal("it is not quarantined")
	}
	w.blue.wrong, w.blue.sample = false, nil // emptied by hand
	w.request("reinstate-1", v1alpha1.RequestReinstate, "blue")
	w.tick(3)
	w.answered("reinstate-1", v1alpha1.RequestSucceeded, "")
	if w.quarantined("blue") {
		t.Error("the proof did not reinstate it")
	}
}

// TestProtocolSurvivesARestart holds that an instance which is out because its
// store's modules are not served is not put back into service by a manager
// that has not observed yet what it could request.
func TestProtocolSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(noReferenceModules)
	w.settle()
	w.blue.sample, w.green.sample = stored(t), stored(t)
	w.tick(2)
	w.blue.broken = true
	w.tick(3)
	w.weights(0, 100)
	w.restart(faults.Point{})
	w.settle()
	w.weights(0, 100)
	w.tick(2)
	w.weights(0, 100)
	w.blue.broken = false
	w.tick(20)
	w.weights(100, 100)
}

// comparing names a reference module without a sum.
func comparing(p *v1alpha1.ModProxySpec) {
	p.Probes.Kinds = append(p.Probes.Kinds, v1alpha1.ProbeReady, v1alpha1.ProbeProtocol, v1alpha1.ProbeChecksum, v1alpha1.ProbeConsistency)
	p.Probes.ReferenceModules = []v1alpha1.ReferenceModule{{Module: testModule.Module, Version: testModule.Version}}
}

// TestTwoDisagree holds that of two instances that differ, while it is unknown
// which of them is right, neither loses its clients, and that an event reports it.
func TestTwoDisagree(t *testing.T) {
	t.Parallel()
	const consistent = v1alpha1.ConsistentCondition
	w := newWorld(t)
	w.blue.wrong = true
	w.proxy(comparing)
	w.settle()
	w.condition(consistent, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "")
	w.tick(5)
	differ := func() {
		t.Helper()
		w.condition(consistent, metav1.ConditionFalse, v1alpha1.ReasonInstancesDisagree, "example.com/c@v1.0.0: blue serves h1:")
		w.condition(consistent, metav1.ConditionFalse, v1alpha1.ReasonInstancesDisagree, "green serves "+testModule.Sum)
		w.condition(consistent, metav1.ConditionFalse, v1alpha1.ReasonInstancesDisagree, "the correct one is unknown")
		w.weights(100, 100)
	}
	differ()
	wrote := len(w.mortal.Writes)
	w.tick(10)
	if n := len(w.mortal.Writes) - wrote; n > 0 {
		t.Errorf("%d writes while nothing changed", n)
	}
	w.restart(faults.Point{})
	w.settle()
	differ()
	w.tick(5)
	differ()
	w.blue.wrong = false
	w.tick(5)
	w.condition(consistent, metav1.ConditionTrue, v1alpha1.ReasonInstancesAgree, "2 instances serve the same content")
	if recorded := w.recorded(); strings.Count(recorded, "InstancesDisagree") != 1 || strings.Count(recorded, "InstancesAgree ") != 1 || strings.Contains(recorded, "Quarantined") {
		t.Errorf("events: %s", recorded)
	}
}

// TestOneDeparts holds that an instance which departs from what both had agreed
// on loses its clients, also when the manager has been replaced in between, and
// comes back by itself: only trust data quarantines.
func TestOneDeparts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(comparing)
	w.tick(2)
	agreed := w.get().Status.AgreedReferenceModules
	if len(agreed) != 1 || agreed[0].Sum != testModule.Sum || agreed[0].GoModSum == "" {
		t.Fatalf("agreed on %+v", agreed)
	}
	w.restart(faults.Point{})
	w.settle()
	w.blue.wrong = true
	w.tick(5)
	w.weights(0, 100)
	w.condition(v1alpha1.ConsistentCondition, metav1.ConditionFalse, v1alpha1.ReasonInstancesDisagree, "blue contradicts what all instances had agreed on")
	if w.quarantined("blue") {
		t.Error("it is convicted")
	}
	if now := w.get().Status.AgreedReferenceModules; len(now) != 1 || now[0] != agreed[0] {
		t.Errorf("agreed on %+v", now)
	}
	w.restart(faults.Point{})
	w.settle()
	w.weights(0, 100)
	w.tick(1)
	w.weights(0, 100)
	w.blue.wrong = false
	w.tick(20)
	w.weights(100, 100)
	w.condition(v1alpha1.ConsistentCondition, metav1.ConditionTrue, v1alpha1.ReasonInstancesAgree, "")
}

// TestCompareStores holds that instances are compared by what their stores
// have, and are asked for what another one has in a way that fetches nothing.
func TestCompareStores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(comparing, noReferenceModules)
	w.settle()
	w.green.sample = stored(t)
	w.tick(3)
	w.condition(v1alpha1.ConsistentCondition, metav1.ConditionTrue, v1alpha1.ReasonInstancesAgree, "")
	w.blue.wrong = true // its agent names nothing, so that no sum of its own quarantines it
	w.tick(5)
	w.condition(v1alpha1.ConsistentCondition, metav1.ConditionFalse, v1alpha1.ReasonInstancesDisagree, "blue contradicts")
	w.weights(0, 100)
	if n := w.blue.fetches + w.green.fetches; n != 0 {
		t.Errorf("%d requests would have made an instance fetch", n)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Probes.Kinds = []v1alpha1.ProbeKind{v1alpha1.ProbeReady} })
	w.settle()
	w.condition(v1alpha1.ConsistentCondition, "", "", "")
	if now := w.get().Status.AgreedReferenceModules; len(now) > 0 {
		t.Errorf("agreed on %+v", now)
	}
}
