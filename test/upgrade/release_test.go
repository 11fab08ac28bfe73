package upgrade

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/test/scenario"
)

// release is one built release.
type release struct{ version, dir string }

// image and chart are files of the release.
func (r release) image() string {
	return filepath.Join(r.dir, "gocache-operator_"+r.version+"_image.tar")
}

func (r release) chart() string {
	return filepath.Join(r.dir, "gocache-operator-"+strings.TrimPrefix(r.version, "v")+".tgz")
}

// build makes a release of each version from a clone of this repository, whose
// last commit is the release of the version, with its tag.
func build(ctx context.Context, t *testing.T, versions ...string) []release {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	command(ctx, t, "", "git", "clone", "-q", scenario.Root(), clone)
	changelog := filepath.Join(clone, "CHANGELOG.md")
	var all []release
	for _, version := range versions {
		text, err := os.ReadFile(changelog) //nolint:gosec // in a temporary directory
		if err != nil {
			t.Fatal(err)
		}
		const unreleased = "## [Unreleased]\n"
		section := fmt.Sprintf("%s\n## [%s] - %s\n", unreleased, strings.TrimPrefix(version, "v"), time.Now().UTC().Format(time.DateOnly))
		released := strings.Replace(string(text), unreleased, section+"\n- A release.\n", 1)
		if err := os.WriteFile(changelog, []byte(released), 0o600); err != nil {
			t.Fatal(err)
		}
		as := []string{"-c", "user.name=release", "-c", "user.email=release@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}
		command(ctx, t, clone, "git", append(as, "commit", "-qam", "Release "+version)...)
		command(ctx, t, clone, "git", append(as, "tag", "-a", "-m", version, version)...)
		began := time.Now()
		// Other platforms would take minutes more and are not run here.
		command(ctx, t, clone, "make", "-s", "release", "VERSION="+version, "ALLOW_DIRTY=1", "RELEASE_PLATFORM=linux/"+runtime.GOARCH)
		t.Logf("release %s was built in %s", version, time.Since(began).Round(time.Second))
		all = append(all, release{version, filepath.Join(clone, "dist", version)})
	}
	return all
}

// command runs a program and returns its output.
func command(ctx context.Context, t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	var out, both bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // programs of this test
	cmd.Dir, cmd.Stderr = dir, &both
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out.String(), both.String())
	}
	return out.String()
}

// plugin unpacks the kubectl plugin for this machine.
func (r release) plugin(t *testing.T) string {
	t.Helper()
	archive, err := os.Open(filepath.Join(r.dir, fmt.Sprintf("kubectl-gocache_%s_linux_%s.tar.gz", r.version, runtime.GOARCH)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	z, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	for members := tar.NewReader(z); ; {
		h, err := members.Next()
		if err != nil {
			t.Fatalf("find the plugin in %s: %v", archive.Name(), err)
		}
		if path.Base(h.Name) != "kubectl-gocache" {
			continue
		}
		data, err := io.ReadAll(members)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "kubectl-gocache")
		if err := os.WriteFile(name, data, 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		return name
	}
}

// digest is that of the image in install.yaml.
func (r release) digest(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`image: \S+@(sha256:[0-9a-f]{64})`).FindSubmatch(text)
	if found == nil {
		t.Fatal("install.yaml names no image by its digest")
	}
	return string(found[1])
}

// overlay is a kustomization of install.yaml with the images of the local cluster,
// which has no way out, as docs/install.md describes it for a mirror.
func (r release) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	install, err := os.ReadFile(filepath.Join(r.dir, "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"install.yaml": install,
		"kustomization.yaml": []byte(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [install.yaml]
patches:
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: ` + scenario.ManagerDeployment + `, namespace: ` + scenario.SystemNamespace + `}
    spec:
      template:
        spec:
          containers:
          - name: manager
            env:
            - {name: TOOLCHAIN_IMAGE, value: "gocache.dev/golang:{version}"}
            - {name: HAPROXY_IMAGE, value: "gocache.dev/haproxy:2.6"}
`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
