package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// archiveVersion is part of every fingerprint: raise it when the same inputs
// are to make another archive.
const archiveVersion = 1

// Cache keeps archives by what they were made from.
type Cache struct{ Dir string }

// keepArchives is how many archives of one image are kept.
const keepArchives = 2

// Archive returns the archive of an image, and whether it had to be made.
func (c Cache) Archive(r Recipe) (file string, made bool, err error) {
	key, err := fingerprint(r)
	if err != nil {
		return "", false, fmt.Errorf("image %s: %w", r.Config.Ref, err)
	}
	file = filepath.Join(c.Dir, r.Name+"-"+key+".tar")
	now := time.Now()
	// The age of the file is when it was last used.
	if err := os.Chtimes(file, now, now); err == nil {
		return file, false, nil
	}
	if err := Write(file, r.Config, r.Fill); err != nil {
		return "", false, err
	}
	return file, true, c.evict(r.Name)
}

func (c Cache) evict(name string) error {
	files, err := filepath.Glob(filepath.Join(c.Dir, name+"-*.tar"))
	if err != nil {
		return err
	}
	used := map[string]time.Time{}
	files = slices.DeleteFunc(files, func(f string) bool {
		// The name of another image may begin with this one.
		rest := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), name+"-"), ".tar")
		info, err := os.Stat(f)
		if err != nil || len(rest) != fingerprintLength {
			return true
		}
		used[f] = info.ModTime()
		return false
	})
	slices.SortFunc(files, func(a, b string) int { return cmp.Or(used[b].Compare(used[a]), cmp.Compare(a, b)) })
	var errs []error
	for _, f := range files[min(keepArchives, len(files)):] {
		errs = append(errs, os.Remove(f))
	}
	return errors.Join(errs...)
}

// Recipe is an image that can be made on this machine.
type Recipe struct {
	// Name is what its archive is called.
	Name string
	// Config is the configuration in the image.
	Config Config
	// Inputs are the files and folders that it is made from.
	Inputs []string
	// Fill writes its layer.
	Fill func(*Layer) error
}

const fingerprintLength = 16

// fingerprint names what an image is made from: its configuration, and path,
// size, mode, and time of every input. Reading a toolchain of 15,000 files to
// hash it would take longer than to write the archive.
func fingerprint(r Recipe) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %q %+v\n", archiveVersion, r.Name, r.Config)
	for _, input := range r.Inputs {
		err := filepath.WalkDir(input, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(file)
			if err != nil {
				info, err = entry.Info() // a link that leads nowhere is still an input
			}
			if err != nil {
				return err
			}
			if info.IsDir() && file != input {
				fmt.Fprintf(sum, "dir %q\n", file)
				return nil
			}
			fmt.Fprintf(sum, "file %q %d %v %d\n", file, info.Size(), info.Mode(), info.ModTime().UnixNano())
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:fingerprintLength], nil
}

// CopyTo puts an archive at the requested place, as a second name of the same
// file if that can be.
func CopyTo(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // not secret
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close())
}
