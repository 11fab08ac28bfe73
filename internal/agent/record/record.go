package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
)

// Dir is the directory at the root of a volume.
const Dir = manifest.RecordsDir

const (
	manifestName  = manifest.Name
	toolchainName = "toolchain.json"
	maxToolchain  = 64 << 10
)

// ManifestPath is where the manifest of a volume lies.
func ManifestPath(root string) string { return filepath.Join(root, Dir, manifestName) }

// WriteManifest lets write produce a manifest's text and stores it compressed
// under name, complete or not at all.
func WriteManifest(name string, write func(io.Writer) error) (err error) {
	return replace(name, func(f *os.File) error {
		z, err := manifest.Compress(f)
		if err != nil {
			return err
		}
		return errors.Join(write(z), z.Close())
	})
}

// errCorrupt keeps the manifest of a check that found something corrupt from taking the
// place of the last writer's.
var errCorrupt = errors.New("corrupt")

// Seal checks what a writer leaves in the caches of a volume and records the manifest.
// Corrupt content is not recorded, and the verdict has no digest then: it would vouch
// for what the go command derived from that content. The manifest of the last writer
// stays, so that the next one removes only what this one added.
func Seal(ctx context.Context, root string, o integrity.Options) (integrity.Verdict, error) {
	var v integrity.Verdict
	o.Snapshots = ReadSnapshots(root)
	err := WriteManifest(ManifestPath(root), func(out io.Writer) (err error) {
		o.Manifest = out
		if v, err = integrity.Check(ctx, o); err == nil && v.Verdict == integrity.OutcomeCorrupt {
			return errCorrupt
		}
		return err
	})
	if errors.Is(err, errCorrupt) {
		v.Digest, err = "", nil
	}
	return v, err
}

// newPrefix begins the name of a file that is to replace another one.
const newPrefix = ".new-"

// removeLeftovers removes what writers that were killed left of the file with a name,
// which has one writer at a time. Those of earlier releases do not name their file.
func removeLeftovers(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, isNew := strings.CutPrefix(e.Name(), newPrefix)
		if filepath.Base(dir) != Dir || strings.Contains(number, "-") {
			number, isNew = strings.CutPrefix(e.Name(), newPrefix+name+"-")
		}
		if !isNew || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replace writes a file beside name and renames it into place.
func replace(name string, write func(*os.File) error) error {
	dir, base := filepath.Split(name)
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(dir, 0o775); err != nil { //nolint:gosec // shared by the volume's group
		return err
	}
	if err := removeLeftovers(dir, base); err != nil {
		return fmt.Errorf("removing what a writer that was killed left of %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, newPrefix+base+"-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o664), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// WriteToolchain records which toolchain filled the caches of a volume.
func WriteToolchain(root string, t *integrity.Toolchain) error {
	return replace(filepath.Join(root, Dir, toolchainName), func(f *os.File) error {
		return json.NewEncoder(f).Encode(t)
	})
}

// ReadToolchain is what the last writer recorded.
func ReadToolchain(root string) (*integrity.Toolchain, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	name := filepath.Join(Dir, toolchainName)
	info, err := r.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxToolchain {
		return nil, fmt.Errorf("%s is not a small regular file", name)
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var t integrity.Toolchain
	if err := json.NewDecoder(io.LimitReader(f, maxToolchain)).Decode(&t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &t, nil
}
