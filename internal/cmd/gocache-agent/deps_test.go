package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The agent runs beside untrusted caches and in foreign images: it carries no
// Kubernetes client.
func TestLinksNoKubernetes(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "k8s.io/") || strings.HasPrefix(pkg, "sigs.k8s.io/") {
			t.Errorf("links %s", pkg)
		}
	}
}
