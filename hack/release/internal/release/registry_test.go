package release

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	helm "helm.sh/helm/v3/pkg/registry"
)

// TestPublish copies both layouts into a registry, as docs/design/releasing.md
// does, and gets them as users do: the chart by helm, the image by the digest that
// install.yaml names.
func TestPublish(t *testing.T) {
	o := sample(t, newKey(t))
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")

	charts, err := unpacked(t, o, "gocache-operator_v0.1.0_chart.tar").ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := charts.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := charts.Image(entries.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	version := entries.Manifests[0].Annotations["org.opencontainers.image.ref.name"]
	if err := remote.Write(reference(t, host+"/charts/gocache-operator:"+version), artifact); err != nil {
		t.Fatal(err)
	}
	client, err := helm.NewClient(helm.ClientOptPlainHTTP(), helm.ClientOptWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := client.Pull(host + "/charts/gocache-operator:0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Chart.Meta.Name != "gocache-operator" || pulled.Chart.Meta.AppVersion != "v0.1.0" ||
		!bytes.Equal(pulled.Chart.Data, o.read(t, "gocache-operator-0.1.0.tgz")) {
		t.Errorf("helm pulled the chart %+v with %d bytes", pulled.Chart.Meta, len(pulled.Chart.Data))
	}

	layouts, err := unpacked(t, o, "gocache-operator_v0.1.0_image.tar").ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	digest := imageDigest(t, o)
	images, err := layouts.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	index, err := layouts.ImageIndex(images.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(reference(t, host+"/operator:v0.1.0"), index); err != nil {
		t.Fatal(err)
	}
	published, err := remote.Index(reference(t, host+"/operator@"+digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(published); err != nil {
		t.Error(err)
	}
}

func reference(t *testing.T, text string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
