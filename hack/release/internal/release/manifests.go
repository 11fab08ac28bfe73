package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/hack/release/internal/chart"
)

// manifests writes config/default with this release's image, and the CRDs alone.
func manifests(o Options, digest string) error {
	objects, err := chart.Kustomize(o.Root, "default")
	if err != nil {
		return err
	}
	var all, crds bytes.Buffer
	for _, object := range objects {
		data, err := yaml.Marshal(set(map[string]any(object), o, digest))
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "---\n%s", data)
		if object["kind"] == "CustomResourceDefinition" {
			fmt.Fprintf(&crds, "---\n%s", data)
		}
	}
	if !strings.Contains(all.String(), digest) {
		return fmt.Errorf("config/default does not run the image %s", devImage)
	}
	if err := o.write("crds.yaml", crds.Bytes()); err != nil {
		return err
	}
	return o.write("install.yaml", all.Bytes())
}

// What config/default has in the place of a release.
const (
	devImage     = "gocache.dev/operator:dev"
	devVersion   = "dev"
	versionLabel = "app.kubernetes.io/version"
)

// set puts the image and the version of the release into an object.
func set(value any, o Options, digest string) any {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			if key == versionLabel && below == devVersion {
				v[key] = o.Version
				continue
			}
			v[key] = set(below, o, digest)
		}
	case []any:
		for i, below := range v {
			v[i] = set(below, o, digest)
		}
	case string:
		if v == devImage {
			return o.Repository + ":" + o.Version + "@" + digest
		}
	}
	return value
}

const (
	helmConfig types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	helmChart  types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// writeChart writes the chart as helm package does, and as the OCI artifact that
// helm push would send to a registry.
func writeChart(o Options, digest, dir string) error {
	files, err := chart.Files(chart.Options{Root: o.Root, Version: o.Version, Repository: o.Repository, Digest: digest})
	if err != nil {
		return err
	}
	members := map[string]member{}
	for name, data := range files {
		members["gocache-operator/"+name] = member{data, plain}
	}
	archive, err := tarGzip(members, o.commit.time)
	if err != nil {
		return err
	}
	if err := o.write("gocache-operator-"+o.number()+".tgz", archive); err != nil {
		return err
	}
	config, err := yaml.YAMLToJSON(files["Chart.yaml"])
	if err != nil {
		return err
	}
	l, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	if manifest.Config, err = blob(l, helmConfig, config); err != nil {
		return err
	}
	layer, err := blob(l, helmChart, archive)
	if err != nil {
		return err
	}
	manifest.Layers = []v1.Descriptor{layer}
	data, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	descriptor, err := blob(l, types.OCIManifestSchema1, data)
	if err != nil {
		return err
	}
	descriptor.Annotations = map[string]string{"org.opencontainers.image.ref.name": o.number()}
	if err := l.AppendDescriptor(descriptor); err != nil {
		return err
	}
	if data, err = tarFolder(dir, o.commit.time); err != nil {
		return err
	}
	return o.write(fmt.Sprintf("gocache-operator_%s_chart.tar", o.Version), data)
}

// blob adds data to a layout.
func blob(l layout.Path, mediaType types.MediaType, data []byte) (v1.Descriptor, error) {
	sum := sha256.Sum256(data)
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	return v1.Descriptor{MediaType: mediaType, Digest: hash, Size: int64(len(data))},
		l.WriteBlob(hash, io.NopCloser(bytes.NewReader(data)))
}

// krewPlatform is one entry of krew's manifest of a plugin.
type krewPlatform struct {
	Selector map[string]any      `json:"selector"`
	URI      string              `json:"uri"`
	SHA256   string              `json:"sha256"`
	Files    []map[string]string `json:"files"`
	Bin      string              `json:"bin"`
}

// writeKrew writes the plugin's manifest for an index of krew.
func writeKrew(o Options, programs []program) error {
	var platforms []krewPlatform
	for _, p := range programs {
		if p.name != plugin {
			continue
		}
		name := archiveName(o, plugin, p.os, p.arch)
		sum, err := o.sum(name)
		if err != nil {
			return err
		}
		bin := plugin
		if p.os == "windows" {
			bin += ".exe"
		}
		platforms = append(platforms, krewPlatform{
			Selector: map[string]any{"matchLabels": map[string]string{"os": p.os, "arch": p.arch}},
			URI:      strings.TrimSuffix(o.URL, "/") + "/" + name, SHA256: sum, Bin: bin,
			Files: []map[string]string{{"from": bin, "to": "."}, {"from": "LICENSE", "to": "."}},
		})
	}
	if len(platforms) == 0 {
		return nil
	}
	data, err := yaml.Marshal(map[string]any{
		"apiVersion": "krew.googlecontainertools.github.com/v1alpha2", "kind": "Plugin",
		"metadata": map[string]string{"name": "gocache"},
		"spec": map[string]any{
			"version": o.Version, "homepage": "https://gocache.dev/operator",
			"shortDescription": "Inspect Go caches and Go module proxies",
			"description":      "Shows the state of GoCaches, CacheSnapshots and ModProxies, and what to do about it.\n",
			"platforms":        platforms,
		},
	})
	if err != nil {
		return err
	}
	return o.write("gocache.yaml", data)
}
