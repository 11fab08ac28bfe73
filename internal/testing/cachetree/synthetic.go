package cachetree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/buildcache"
)

// BuildEntry writes an output to the build cache in dir, and an entry that names it:
// that of the n-th action of a cache.
func BuildEntry(dir string, data []byte, n uint64) error {
	e := buildcache.Entry{Output: sha256.Sum256(data), Size: int64(len(data)), Time: time.Unix(1_700_000_000, 0)}
	e.Action = sha256.Sum256(binary.LittleEndian.AppendUint64(nil, n))
	for path, content := range map[string][]byte{e.Output.OutputPath(): data, e.Action.ActionPath(): e.Format()} {
		name := filepath.Join(dir, path)
		if err := put(name, content); err != nil {
			return err
		}
	}
	return nil
}

// Version writes a version of a module to the module cache in dir, as the go command
// leaves it there: its downloads and its extracted files. It returns its h1 hash.
func Version(dir string, m module.Version, files map[string]string) (sum string, err error) {
	data, err := Zip(m, files)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(files))
	prefix := m.Path + "@" + m.Version + "/"
	for name := range files {
		names = append(names, prefix+name)
	}
	sum, err = dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(files[name[len(prefix):]]))), nil
	})
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, "cache", "download", filepath.FromSlash(m.Path), "@v")
	for suffix, content := range map[string][]byte{
		".zip": data, ".ziphash": []byte(sum), ".mod": []byte(files["go.mod"]), ".info": []byte(`{"Version":"` + m.Version + `"}`),
	} {
		if err := put(filepath.Join(at, m.Version+suffix), content); err != nil {
			return "", err
		}
	}
	for name, content := range files {
		if err := put(filepath.Join(dir, filepath.FromSlash(prefix+name)), []byte(content)); err != nil {
			return "", err
		}
	}
	return sum, nil
}

// ModSum is the hash of a go.mod file, as go.sum has it.
func ModSum(text string) (string, error) {
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	})
}

func put(name string, data []byte) error {
	err := os.WriteFile(name, data, 0o600)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
			err = os.WriteFile(name, data, 0o600)
		}
	}
	return err
}
