package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

func TestFilesAreOfThisClusterAlone(t *testing.T) {
	t.Parallel()
	spec := cluster.Spec{Name: "ci", StateDir: filepath.Join(t.TempDir(), "s"), Index: 3}.WithDefaults()
	if err := Write(spec); err != nil {
		t.Fatal(err)
	}
	paths := spec.Paths()
	all := map[string]string{}
	for _, file := range []string{Containerd(paths), Kubelet(paths), KubeProxy(paths), filepath.Join(paths.CNI(), "10-bridge.conflist")} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("<no value>")) || bytes.Contains(b, []byte("{{")) {
			t.Errorf("%s is not filled in:\n%s", file, b)
		}
		all[filepath.Base(file)] = string(b)
	}
	var kubelet struct {
		CgroupRoot string
		ClusterDNS []string
	}
	if err := yaml.Unmarshal([]byte(all["kubelet.yaml"]), &kubelet); err != nil {
		t.Fatal(err)
	}
	if kubelet.CgroupRoot != "/gocache-dev-ci" || kubelet.ClusterDNS[0] != "10.224.48.10" {
		t.Errorf("kubelet: %+v", kubelet)
	}
	if !json.Valid([]byte(all["10-bridge.conflist"])) || !strings.Contains(all["10-bridge.conflist"], spec.PodCIDR.String()) {
		t.Errorf("CNI: %s", all["10-bridge.conflist"])
	}
	if !strings.Contains(all["containerd.toml"], paths.ContainerdSocket()) {
		t.Errorf("containerd: %s", all["containerd.toml"])
	}
}

func TestManifestsAreYAML(t *testing.T) {
	t.Parallel()
	b, err := Manifests(cluster.Spec{}.WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for document := range strings.SplitSeq(string(b), "\n---") {
		var object struct{ Kind string }
		if err := yaml.Unmarshal([]byte(strings.TrimPrefix(document, "---")), &object); err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		kinds[object.Kind]++
	}
	for kind, want := range map[string]int{"StorageClass": 3, "VolumeSnapshotClass": 1, "CSIDriver": 1, "Deployment": 1, "Service": 1} {
		if kinds[kind] != want {
			t.Errorf("%d of kind %s, want %d", kinds[kind], kind, want)
		}
	}
}
