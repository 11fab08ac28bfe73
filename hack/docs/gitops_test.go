package main

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// healthCase is an object in one state, and what GitOps tools derive from it.
type healthCase struct {
	name       string
	observed   int64 // the generation is 2
	conditions map[string]string
	argo       string
	flux       status.Status
}

var healthCases = []healthCase{
	{"applied, and not observed", -1, nil, "Progressing", status.InProgressStatus},
	{"observed, without conditions", 2, nil, "Progressing", status.InProgressStatus},
	{"ready", 2, map[string]string{"Ready": "True"}, "Healthy", status.CurrentStatus},
	{"edited, and not observed", 1, map[string]string{"Ready": "True"}, "Progressing", status.InProgressStatus},
	{"not ready yet", 2, map[string]string{"Ready": "False", "Reconciling": "True"}, "Progressing", status.InProgressStatus},
	{"ready, with work in progress", 2, map[string]string{"Ready": "True", "Reconciling": "True"}, "Progressing", status.InProgressStatus},
	{"not ready", 2, map[string]string{"Ready": "False"}, "Progressing", status.InProgressStatus},
	{"stalled", 2, map[string]string{"Ready": "False", "Stalled": "True"}, "Degraded", status.FailedStatus},
	{"ready by an older snapshot, and stalled", 2, map[string]string{"Ready": "True", "Stalled": "True"}, "Degraded", status.FailedStatus},
	{"suspended", 2, map[string]string{"Suspended": "True"}, "Suspended", status.CurrentStatus},
	{"suspended and ready", 2, map[string]string{"Suspended": "True", "Ready": "True"}, "Suspended", status.CurrentStatus},
	{"another condition is False", 2, map[string]string{"Ready": "True", "Warm": "False"}, "Healthy", status.CurrentStatus},
}

func (c healthCase) object(kind string) *unstructured.Unstructured {
	state := map[string]any{"observedGeneration": c.observed}
	if c.conditions != nil {
		var all []any
		for name, value := range c.conditions {
			all = append(all, map[string]any{"type": name, "status": value, "message": name + " is " + value})
		}
		state["conditions"] = all
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cache.gocache.dev/v1alpha1", "kind": kind, "metadata": map[string]any{"name": "x", "generation": int64(2)}, "status": state,
	}}
}

var healthKinds = []string{"GoCache", "CacheSnapshot", "ModProxy", "CacheRequest"}

// TestArgoCDHealth runs the health check for Argo CD on objects in each state.
func TestArgoCDHealth(t *testing.T) {
	script := read(t, "config/argocd/health.lua")
	var config corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(read(t, "config/argocd/argocd-cm.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Data) != len(healthKinds) {
		t.Errorf("argocd-cm.yaml has %d entries, want %d", len(config.Data), len(healthKinds))
	}
	for _, kind := range healthKinds {
		if config.Data["resource.customizations.health.cache.gocache.dev_"+kind] != script {
			t.Errorf("argocd-cm.yaml has another script for %s than health.lua", kind)
		}
	}
	for _, c := range healthCases {
		health, message := runLua(t, script, c.object("GoCache").Object)
		if health != c.argo || message == "" {
			t.Errorf("%s: Argo CD derives %s (%s), want %s", c.name, health, message, c.argo)
		}
	}
	if health, _ := runLua(t, script, map[string]any{"metadata": map[string]any{"generation": int64(1)}}); health != "Progressing" {
		t.Errorf("without a status Argo CD derives %s", health)
	}
}

// runLua runs a script as Argo CD does: with the object as obj, and with the
// library of strings and tables only.
func runLua(t *testing.T, script string, object map[string]any) (health, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	l.SetContext(t.Context())
	l.SetGlobal("obj", luaValue(l, object))
	if err := l.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns %s", l.Get(-1).Type())
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

func luaValue(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, below := range v {
			table.RawSetString(key, luaValue(l, below))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, below := range v {
			table.Append(luaValue(l, below))
		}
		return table
	case int64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	}
	return lua.LNil
}

// TestFluxHealth evaluates the expressions for Flux on objects in each state, in
// the order of Flux, and compares the result with that of kstatus, which Flux uses
// without them.
func TestFluxHealth(t *testing.T) {
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []struct{ APIVersion, Kind, Current, Failed string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "config/flux/kustomization-caches.yaml")), &kustomization); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range kustomization.Spec.HealthCheckExprs {
		kinds = append(kinds, e.Kind)
		for _, c := range healthCases {
			object := c.object(e.Kind)
			got := status.InProgressStatus
			switch {
			case c.observed != 2: // Flux evaluates nothing then
			case evaluate(t, e.Failed, object.Object):
				got = status.FailedStatus
			case evaluate(t, e.Current, object.Object):
				got = status.CurrentStatus
			}
			if got != c.flux {
				t.Errorf("%s, %s: Flux derives %s, want %s", e.Kind, c.name, got, c.flux)
			}
			// Without conditions kstatus has nothing to wait for.
			if by, err := status.Compute(object); err != nil || by.Status != c.flux && c.conditions != nil {
				t.Errorf("%s, %s: kstatus derives %v, want %s: %v", e.Kind, c.name, by, c.flux, err)
			}
		}
	}
	if strings.Join(kinds, " ") != strings.Join(healthKinds, " ") {
		t.Errorf("expressions for %v, want %v", kinds, healthKinds)
	}
}

func evaluate(t *testing.T, expression string, object map[string]any) bool {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("metadata", cel.DynType), cel.Variable("status", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", expression, issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := program.Eval(map[string]any{"metadata": object["metadata"], "status": object["status"]})
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	result, ok := out.Value().(bool)
	if !ok {
		t.Fatalf("%s is %v", expression, out)
	}
	return result
}
