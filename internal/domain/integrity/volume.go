package integrity

import (
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
)

// open opens the root of a cache. On a volume that is checked as a whole, no
// element of the path below the root of the volume may be a link: it would lead
// the check, and then a go command, out of the volume.
func (r *run) open(dir string) (*tree.Dir, error) {
	if r.Volume == "" {
		return tree.Open(dir)
	}
	rel, err := filepath.Rel(r.Volume, dir)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return tree.Open(dir)
	}
	root, err := tree.Open(r.Volume)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.SubRoot(filepath.ToSlash(rel))
}

// isLink reports whether a cache was not opened because a link or a file is in
// its place, which the check of the volume reports.
func (r *run) isLink(err error) bool {
	return r.Volume != "" && (errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR))
}

// checkVolume lists the root of a volume that only the operator writes to:
// whatever is there besides the caches and the records of the writer is checked
// by nothing.
func (r *run) checkVolume() error {
	root, err := tree.Open(r.Volume)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	err = root.Each(func(e tree.Entry) error {
		if !ofVolume(e) {
			r.found.add(unexpected(Volume, e.Name, "a "+e.Type.String()+" at the root of the volume"))
		}
		return nil
	})
	if err != nil {
		r.unreadable(Volume, ".", err)
	}
	return nil
}

// ofVolume reports whether an entry at the root of a volume is one of the
// operator or of the file system: ext4, and servers that show their snapshots or
// deleted files there.
func ofVolume(e tree.Entry) bool {
	switch e.Name {
	case goenv.ModulesDir, goenv.BuildDir, manifest.RecordsDir, "lost+found", ".snapshot", ".snapshots", ".zfs", ".trashcan":
		return e.Type == tree.Directory
	case "aquota.user", "aquota.group":
		return e.Type == tree.Regular
	}
	return e.Type == tree.Regular && strings.HasPrefix(e.Name, ".nfs") // removed while it was open
}

// unexpected is a finding about an entry that the writer never leaves.
func unexpected(cache Cache, path, detail string) Finding {
	return Finding{Class: Unexpected, Severity: SeverityCorrupt, Cache: cache, Path: path, Detail: detail, Remove: []string{path}}
}
