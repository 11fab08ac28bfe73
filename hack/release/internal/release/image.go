package release

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	certificates = "etc/ssl/certs/ca-certificates.crt"
	goEnv        = "usr/local/go/go.env"
	// nonRoot is numeric, so that runAsNonRoot can be checked.
	nonRoot = "65532:65532"
)

// writeImage writes the image of the Dockerfile for every platform as one OCI
// layout, and returns the digest of its index.
func writeImage(o Options, programs []program, dir string) (string, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range o.only(operatorPlatforms) {
		goos, arch, _ := strings.Cut(platform, "/")
		img, err := imageFor(o, programs, goos, arch)
		if err != nil {
			return "", err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: goos, Architecture: arch}},
		})
	}
	ref := o.Repository + ":" + o.Version
	l, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return "", err
	}
	err = l.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": o.Version,
		"io.containerd.image.name":          ref,
	}))
	if err != nil {
		return "", err
	}
	digest, err := index.Digest()
	if err != nil {
		return "", err
	}
	data, err := tarFolder(dir, o.commit.time)
	if err != nil {
		return "", err
	}
	return digest.String(), o.write(fmt.Sprintf("gocache-operator_%s_image.tar", o.Version), data)
}

func imageFor(o Options, programs []program, goos, arch string) (v1.Image, error) {
	members := map[string]member{}
	add := func(name, file string, mode int64) error {
		data, err := os.ReadFile(file)
		members[name] = member{data, mode}
		return err
	}
	for _, p := range programs {
		if p.os != goos || p.arch != arch || p.name == plugin {
			continue
		}
		if err := add(p.name, p.file, executable); err != nil {
			return nil, err
		}
	}
	// As in the Dockerfile: proxies use TLS, and start from the toolchain's defaults.
	if err := add(certificates, o.Certificates, plain); err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	if err := add(goEnv, filepath.Join(o.toolchain.root, "go.env"), plain); err != nil {
		return nil, err
	}
	data, err := tarballBytes(members, o.commit.time)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: o.commit.time}, CreatedBy: "make release"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = goos, arch, v1.Time{Time: o.commit.time}
	config.Config = v1.Config{
		User: nonRoot, Entrypoint: []string{"/manager"}, Env: []string{"PATH=/"},
		Labels: map[string]string{
			"org.opencontainers.image.version":  o.Version,
			"org.opencontainers.image.revision": o.commit.hash,
			"org.opencontainers.image.title":    "gocache-operator",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, config)
}
