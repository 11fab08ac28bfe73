package release

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

const root = "../../../.."

const commitHash = "0123456789abcdef0123456789abcdef01234567"

// small builds one program that stands for all.
var small = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "release-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of temporary files
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source).CombinedOutput(); err != nil { //nolint:gosec // fixed arguments
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(program)
})

// sample packs a release of small programs.
func sample(t *testing.T, private ed25519.PrivateKey) Options {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	data, err := small()
	if err != nil {
		t.Fatal(err)
	}
	self := write("program", data)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Root: root, Out: filepath.Join(dir, "out"), Version: "v0.1.0", Repository: "registry.example.com/operator", URL: "https://example.com/v0.1.0",
		Key:          write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		Certificates: write("certificates", []byte("certificates")), Untagged: true,
		commit: commit{hash: commitHash, time: time.Unix(1_700_000_000, 0).UTC()}, toolchain: toolchain{"go1.26.8", goRoot(t)},
	}
	var programs []program
	for _, name := range []string{"manager", "gocache-agent", "gocache-proxy", "gocache-router"} {
		programs = append(programs, program{name: name, file: self, os: "linux", arch: "amd64"}, program{name: name, file: self, os: "linux", arch: "arm64"})
	}
	for _, p := range pluginPlatforms {
		goos, arch, _ := strings.Cut(p, "/")
		programs = append(programs, program{name: plugin, file: self, os: goos, arch: arch})
	}
	if err := pack(t.Context(), o, programs, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return o
}

func goRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func (o Options) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.Out, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTwiceIsIdentical(t *testing.T) {
	key := newKey(t)
	one, two := sample(t, key), sample(t, key)
	names, err := one.names()
	if err != nil {
		t.Fatal(err)
	}
	others, err := two.names()
	if err != nil || len(names) < 18 || strings.Join(names, " ") != strings.Join(others, " ") {
		t.Fatalf("files %v and %v: %v", names, others, err)
	}
	for _, name := range names {
		if !bytes.Equal(one.read(t, name), two.read(t, name)) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}

func TestContent(t *testing.T) {
	key := newKey(t)
	o := sample(t, key)
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}

	digest := imageDigest(t, o)
	ref := "registry.example.com/operator:v0.1.0@" + digest
	install := string(o.read(t, "install.yaml"))
	if strings.Count(install, ref) != 2 || strings.Contains(install, devImage) || strings.Contains(install, "version: dev") {
		t.Errorf("install.yaml names the image %s %d times", ref, strings.Count(install, ref))
	}
	if crds := string(o.read(t, "crds.yaml")); strings.Count(crds, "kind: CustomResourceDefinition") < 3 || strings.Contains(crds, "kind: Deployment") {
		t.Error("crds.yaml does not hold the CRDs alone")
	}

	inOrder(t, install)

	c, err := loader.LoadArchive(bytes.NewReader(o.read(t, "gocache-operator-0.1.0.tgz")))
	if err != nil {
		t.Fatal(err)
	}
	image, _ := c.Values["image"].(map[string]any)
	if c.Metadata.Version != "0.1.0" || image["digest"] != digest || image["repository"] != "registry.example.com/operator" {
		t.Errorf("chart %+v with image %v", c.Metadata, image)
	}
	chartLayout(t, o)

	var krew struct {
		Spec struct {
			Platforms []krewPlatform
		}
	}
	if err := yaml.Unmarshal(o.read(t, "gocache.yaml"), &krew); err != nil || len(krew.Spec.Platforms) != len(pluginPlatforms) {
		t.Fatalf("krew: %+v, %v", krew, err)
	}
	for _, p := range krew.Spec.Platforms {
		name := strings.TrimPrefix(p.URI, "https://example.com/v0.1.0/")
		if sum := sha256.Sum256(o.read(t, name)); hex.EncodeToString(sum[:]) != p.SHA256 {
			t.Errorf("%s has another sum in gocache.yaml", name)
		}
	}

	materials(t, o)
	modules(t, o)
	if notes := string(o.read(t, "RELEASE_NOTES.md")); !strings.Contains(notes, "v0.1.0") || !strings.Contains(notes, "### ") {
		t.Errorf("notes:\n%s", notes)
	}
	signatures(t, o, public, digest)
}

// inOrder checks that kubectl, which creates the objects of a file one after the
// other, finds each namespace there when it needs it, and each kind.
func inOrder(t *testing.T, manifest string) {
	t.Helper()
	exist := map[string]bool{}
	kinds := 0
	for _, text := range strings.Split(manifest, "---\n")[1:] {
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o.Metadata.Namespace != "" && !exist["Namespace/"+o.Metadata.Namespace] {
			t.Errorf("%s %s comes before the namespace %s", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
		}
		exist[o.Kind+"/"+o.Metadata.Name] = true
		kinds++
	}
	if kinds < 20 || !exist["Namespace/gocache-system"] {
		t.Errorf("%d objects, among them %v", kinds, exist)
	}
}

// materials looks for the SBOM of every program for every platform.
func materials(t *testing.T, o Options) {
	t.Helper()
	platforms := map[string][]string{plugin: pluginPlatforms}
	for _, p := range operatorPrograms {
		platforms[p.name] = operatorPlatforms
	}
	for name, all := range platforms {
		for _, p := range all {
			goos, arch, _ := strings.Cut(p, "/")
			var bom cdx.BOM
			if err := cdx.NewBOMDecoder(bytes.NewReader(o.read(t, fmt.Sprintf("%s_v0.1.0_%s_%s.cdx.json", name, goos, arch))), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
				t.Fatal(err)
			}
			if bom.Metadata == nil || bom.Metadata.Component.Name != name || bom.Components == nil || (*bom.Components)[0].Name != "std" {
				t.Errorf("SBOM of %s for %s: %+v", name, p, bom)
			}
		}
	}
}

// modules looks for a module of a program, and for the one that replaces
// another, in the SBOM.
func modules(t *testing.T, o Options) {
	t.Helper()
	sum := "h1:" + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Path: "gocache.dev/operator", Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.2.3", Sum: sum},
		{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0", Sum: sum}},
	}}
	var purls []string
	for _, c := range *bom(o, "test", info).Components {
		purls = append(purls, c.PackageURL)
		if hashed := c.Hashes != nil && (*c.Hashes)[0].Value == strings.Repeat("0", 2*sha256.Size); hashed != (c.Name != "std") {
			t.Errorf("component %+v", c)
		}
	}
	if got := strings.Join(purls, " "); got != "pkg:golang/std@1.26.8 pkg:golang/example.com/a@v1.2.3 pkg:golang/example.com/c@v2.0.0" {
		t.Errorf("components %s", got)
	}
}

func imageDigest(t *testing.T, o Options) string {
	t.Helper()
	l := unpacked(t, o, "gocache-operator_v0.1.0_image.tar")
	index, err := l.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%+v: %v", manifest, err)
	}
	images, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	all, err := images.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range all.Manifests {
		img, err := images.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		platforms = append(platforms, config.OS+"/"+config.Architecture)
		if d.Platform.String() != platforms[len(platforms)-1] || config.Config.User != nonRoot || config.Config.Entrypoint[0] != "/manager" {
			t.Errorf("image for %s: %+v", d.Platform, config)
		}
	}
	if strings.Join(platforms, " ") != strings.Join(operatorPlatforms, " ") {
		t.Errorf("images for %v", platforms)
	}
	return manifest.Manifests[0].Digest.String()
}

func chartLayout(t *testing.T, o Options) {
	t.Helper()
	index, err := unpacked(t, o, "gocache-operator_v0.1.0_chart.tar").ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || m.Config.MediaType != helmConfig || len(m.Layers) != 1 || m.Layers[0].MediaType != helmChart {
		t.Fatalf("chart's manifest %+v: %v", m, err)
	}
	if sum := sha256.Sum256(o.read(t, "gocache-operator-0.1.0.tgz")); m.Layers[0].Digest.Hex != hex.EncodeToString(sum[:]) {
		t.Error("the artifact holds another chart than the .tgz")
	}
}

func signatures(t *testing.T, o Options, public ed25519.PublicKey, digest string) {
	t.Helper()
	sums := o.read(t, "SHA256SUMS")
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(o.read(t, "SHA256SUMS.sig"))))
	if err != nil || !ed25519.Verify(public, sums, signature) {
		t.Errorf("the signature of SHA256SUMS is wrong: %v", err)
	}
	names, err := o.names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		sum, err := o.sum(name)
		if err != nil {
			t.Fatal(err)
		}
		unsummed := strings.HasPrefix(name, "SHA256SUMS") || name == "release.pub"
		if strings.Contains(string(sums), sum+"  "+name+"\n") == unsummed {
			t.Errorf("SHA256SUMS and %s", name)
		}
	}
	var envelope dsse.Envelope
	if err := json.Unmarshal(o.read(t, "provenance.intoto.json"), &envelope); err != nil {
		t.Fatal(err)
	}
	k, err := loadKey(o.Key)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(context.Background(), &envelope); err != nil {
		t.Error(err)
	}
	statement, err := envelope.DecodeB64Payload()
	if err != nil || !strings.Contains(string(statement), strings.TrimPrefix(digest, "sha256:")) || !strings.Contains(string(statement), `"gitCommit":"`+commitHash+`"`) {
		t.Errorf("provenance %s: %v", statement, err)
	}
}

// unpacked unpacks a layout.
func unpacked(t *testing.T, o Options, name string) layout.Path {
	t.Helper()
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(o.read(t, name))); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return layout.Path(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(header.Name)) //nolint:gosec // written by this test
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	file := filepath.Join(dir, "CHANGELOG.md")
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refuses := func(o Options, want string) {
		t.Helper()
		o.Root, o.Out = dir, filepath.Join(t.TempDir(), "out")
		if err := Make(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	git("init", "-q")
	change("## [0.1.0] - 2026-01-01\n\ntext\n")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	refuses(Options{Version: "0.1.0"}, "want a tag")
	refuses(Options{Version: "v0.1.0"}, "does not have the tag v0.1.0")
	git("tag", "v0.1.0")
	change("changed\n")
	refuses(Options{Version: "v0.1.0"}, "differs from its commit")
	git("checkout", "-q", ".")
	refuses(Options{Version: "v0.1"}, "want a tag")
	if c, err := readCommit(t.Context(), Options{Root: dir, Version: "v0.1.0"}); err != nil || len(c.hash) != 40 || c.time.IsZero() {
		t.Errorf("a clean tag: %+v, %v", c, err)
	}
	for name, want := range map[string]string{"0.1.0": "text", "0.1": "", "Unreleased": ""} {
		if got := section("# x\n## [0.1.0] - 2026-01-01\n\ntext\n\n## [0.0.9]\nold\n", name); got != want {
			t.Errorf("section %s: %q", name, got)
		}
	}
}

func TestLoadKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if _, err := loadKey(file); err == nil {
		t.Error("a key that does not exist")
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(file); err == nil || !strings.Contains(err.Error(), "openssl genpkey") {
		t.Errorf("no key: %v", err)
	}
	if k, err := loadKey(""); k != nil || err != nil {
		t.Errorf("without a key: %v, %v", k, err)
	}
}

// TestPrograms compares the list of programs with the folders that have one: a
// program that is missing in the list would be missing in the image.
func TestPrograms(t *testing.T) {
	listed := map[string]bool{}
	for _, p := range operatorPrograms {
		listed[p.folder] = true
	}
	mains, err := filepath.Glob(filepath.Join(root, "internal/cmd/*/main.go"))
	if err != nil || len(mains) < 3 {
		t.Fatalf("programs %v: %v", mains, err)
	}
	for _, main := range mains {
		folder := "internal/cmd/" + filepath.Base(filepath.Dir(main))
		if !listed[folder] && folder != "internal/cmd/"+plugin {
			t.Errorf("%s is in no release: add it to operatorPrograms", folder)
		}
		delete(listed, folder)
	}
	if delete(listed, "."); len(listed) > 0 {
		t.Errorf("programs without a main.go: %v", listed)
	}
}

// TestSource checks that provenance names a commit only where the files are that
// commit's.
func TestSource(t *testing.T) {
	for _, c := range []struct {
		commit      commit
		uri, digest string
	}{
		{commit{hash: commitHash, tagged: true}, "git+https://gocache.dev/operator@refs/tags/v0.1.0", commitHash},
		{commit{hash: commitHash}, "git+https://gocache.dev/operator@" + commitHash, commitHash},
		{commit{hash: commitHash + dirty}, "git+https://gocache.dev/operator@" + commitHash + dirty, ""},
	} {
		got := source(Options{Version: "v0.1.0", commit: c.commit})
		if got.Uri != c.uri || got.Digest["gitCommit"] != c.digest {
			t.Errorf("%+v: %v", c.commit, got)
		}
	}
}
