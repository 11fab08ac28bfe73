package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// Options are what a release is made from.
type Options struct {
	// Root is the top of the repository.
	Root string
	// Out is the folder that gets the files. It must not exist.
	Out string
	// Version is the tag, such as v0.1.0.
	Version string
	// Repository is the operator's image, without tag.
	Repository string
	// URL is where the files will be found, for krew.
	URL string
	// Key is a file with an Ed25519 key in PEM; empty: nothing is signed.
	Key string
	// Certificates is a file with the CA certificates for the image.
	Certificates string
	// Untagged allows a commit without the tag, a changed work tree, and a
	// version without a section in the changelog.
	Untagged bool
	// Platform limits a trial to one, such as linux/amd64; empty: all.
	Platform string

	commit    commit
	toolchain toolchain
}

// commit is the source.
type commit struct {
	hash string
	time time.Time
	// tagged states that the files are those of the tag of the version.
	tagged bool
}

// toolchain is the Go release that builds.
type toolchain struct{ version, root string }

// program is one built file.
type program struct {
	name, file string
	os, arch   string
	// folder is that of its main package, from the top of the repository.
	folder string
}

// Make builds the programs and writes all files.
func Make(ctx context.Context, o Options) error {
	if semver.Canonical(o.Version) != o.Version || o.Version == "" {
		return fmt.Errorf("version %q: want a tag such as v0.1.0", o.Version)
	}
	if o.Platform != "" && (!o.Untagged || !slices.Contains(operatorPlatforms, o.Platform)) {
		return fmt.Errorf("platform %q: want one of %s, and only for a trial: a release is for all of them", o.Platform, strings.Join(operatorPlatforms, ", "))
	}
	var err error
	if o.commit, err = readCommit(ctx, o); err != nil {
		return err
	}
	if o.toolchain, err = readToolchain(ctx, o); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "gocache-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // a folder of temporary files
	programs, err := build(ctx, o, temp)
	if err != nil {
		return err
	}
	return pack(ctx, o, programs, temp)
}

// pack writes all files from the programs.
func pack(ctx context.Context, o Options, programs []program, temp string) error {
	if err := os.Mkdir(o.Out, 0o755); err != nil { //nolint:gosec // not secret
		return fmt.Errorf("%w: remove it, for a release is written whole", err)
	}
	if err := writeNotes(o); err != nil {
		return err
	}
	if err := archives(o, programs); err != nil {
		return err
	}
	digest, err := writeImage(o, programs, filepath.Join(temp, "image"))
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := manifests(o, digest); err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	if err := writeChart(o, digest, filepath.Join(temp, "chart")); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	if err := writeKrew(o, programs); err != nil {
		return fmt.Errorf("krew: %w", err)
	}
	if err := writeSBOMs(o, programs); err != nil {
		return fmt.Errorf("SBOM: %w", err)
	}
	key, err := loadKey(o.Key)
	if err != nil {
		return err
	}
	if err := writeProvenance(ctx, o, digest, key); err != nil {
		return fmt.Errorf("provenance: %w", err)
	}
	return writeSums(ctx, o, key)
}

// write writes one file of the release.
func (o Options) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(o.Out, name), data, 0o644) //nolint:gosec // not secret
}

// sum is the SHA-256 of a file of the release, in hexadecimal.
func (o Options) sum(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(o.Out, name))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// names are the files of the release so far, in order.
func (o Options) names() ([]string, error) {
	entries, err := os.ReadDir(o.Out)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// number is the version without its v.
func (o Options) number() string { return strings.TrimPrefix(o.Version, "v") }
