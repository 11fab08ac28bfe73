package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Layer collects the files of an image. Paths in the image are absolute; the
// folders above a file are made with it.
type Layer struct {
	tar  *tar.Writer
	seen map[string]bool
}

func newLayer(w io.Writer) *Layer {
	return &Layer{tar: tar.NewWriter(w), seen: map[string]bool{"/": true}}
}

// Dir makes a folder that belongs to an owner.
func (l *Layer) Dir(name string, mode fs.FileMode, owner int) error {
	name = path.Clean(name)
	if l.seen[name] {
		return nil
	}
	if err := l.parents(name); err != nil {
		return err
	}
	l.seen[name] = true
	bits := int64(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return l.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: inArchive(name) + "/", Mode: bits, Uid: owner, Gid: owner, ModTime: epoch,
	})
}

func (l *Layer) parents(name string) error { return l.Dir(path.Dir(name), 0o755, 0) }

// Data makes a file with this content.
func (l *Layer) Data(name string, mode fs.FileMode, data []byte) error {
	return l.add(name, mode, int64(len(data)), strings.NewReader(string(data)))
}

// File copies one file of the machine; a symbolic link is followed.
func (l *Layer) File(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", from)
	}
	return l.add(name, info.Mode(), info.Size(), f)
}

func (l *Layer) add(name string, mode fs.FileMode, size int64, content io.Reader) error {
	name = path.Clean(name)
	if l.seen[name] {
		return nil
	}
	if err := l.parents(name); err != nil {
		return err
	}
	l.seen[name] = true
	// Readable by the user of the container, whatever the machine's umask was.
	bits := int64(0o644)
	if mode&0o111 != 0 {
		bits = 0o755
	}
	err := l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inArchive(name), Mode: bits, Size: size, ModTime: epoch})
	if err != nil {
		return err
	}
	if _, err := io.Copy(l.tar, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Link makes a symbolic link.
func (l *Layer) Link(name, target string) error {
	name = path.Clean(name)
	if l.seen[name] {
		return nil
	}
	if err := l.parents(name); err != nil {
		return err
	}
	l.seen[name] = true
	return l.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeSymlink, Name: inArchive(name), Linkname: target, Mode: 0o777, ModTime: epoch,
	})
}

// Tree copies a folder of the machine; skip, given a slash-separated path
// relative to it, leaves out a file or a whole folder.
func (l *Layer) Tree(name, from string, skip func(rel string, dir bool) bool) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel != "." && skip != nil && skip(rel, entry.IsDir()) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		to := path.Join(name, rel)
		switch {
		case entry.IsDir():
			return l.Dir(to, 0o755, 0)
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return l.Link(to, target)
		case entry.Type().IsRegular():
			return l.File(to, file)
		default:
			return fmt.Errorf("%s: neither a file, a folder, nor a link", file)
		}
	})
}

// Base makes what every program may expect: users, a /tmp, name resolution
// through DNS, and the machine's CA certificates if it has any.
func (l *Layer) Base() error {
	const passwd = "root:x:0:0:root:/root:/bin/sh\n" +
		"haproxy:x:99:99:haproxy:/var/lib/haproxy:/bin/false\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n" +
		"nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh\n"
	const group = "root:x:0:\nhaproxy:x:99:\nnogroup:x:65534:\nnonroot:x:65532:\n"
	err := errors.Join(
		l.Dir("/tmp", 0o777|fs.ModeSticky, 0),
		l.Dir("/home/nonroot", 0o755, NonRoot),
		l.Data("/etc/passwd", 0o644, []byte(passwd)),
		l.Data("/etc/group", 0o644, []byte(group)),
		l.Data("/etc/nsswitch.conf", 0o644, []byte("hosts: files dns\n")),
	)
	if err != nil {
		return err
	}
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	if err := l.File(certificates, certificates); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func inArchive(name string) string { return strings.TrimPrefix(name, "/") }
