package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Config is the configuration that an image contains.
type Config struct {
	// Ref is the name and tag, such as gocache.dev/operator:dev.
	Ref string
	// Entrypoint and Cmd are what runs.
	Entrypoint, Cmd []string
	// User is numeric, so that runAsNonRoot can be checked: "65532:65532".
	User string
	// Env are NAME=value pairs; PATH has a default.
	Env []string
	// WorkingDir is where it runs.
	WorkingDir string
	// StopSignal asks it to end; empty is SIGTERM.
	StopSignal string
}

// NonRoot is the user that images run as by default.
const NonRoot = 65532

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"

	// nameAnnotation is how containerd finds an image's name in an index.
	nameAnnotation = "io.containerd.image.name"

	blobDir   = "blobs/sha256/"
	blockSize = 512
)

var epoch = time.Unix(0, 0)

// descriptor points to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

func (d descriptor) blob() string { return blobDir + d.Digest[len("sha256:"):] }

// Write makes an archive with one layer, which fill writes, and puts it in
// place when it is complete.
func Write(file string, config Config, fill func(*Layer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // not secret
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	if err := writeArchive(out, config, fill); err != nil {
		return errors.Join(fmt.Errorf("image %s: %w", config.Ref, err), out.Close())
	}
	if err := errors.Join(out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

func writeArchive(out *os.File, config Config, fill func(*Layer) error) error {
	layer, err := writeLayer(out, fill)
	if err != nil {
		return err
	}
	configJSON, err := json.Marshal(configOf(config, layer.Digest))
	if err != nil {
		return err
	}
	configBlob := describe(mediaConfig, configJSON)
	manifestJSON, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest,
		"config": configBlob, "layers": []descriptor{layer},
	})
	if err != nil {
		return err
	}
	manifest := describe(mediaManifest, manifestJSON)
	manifestBlob := manifest.blob()
	manifest.Annotations = map[string]string{nameAnnotation: config.Ref}
	manifest.Platform = platform()
	indexJSON, err := json.Marshal(index{SchemaVersion: 2, MediaType: mediaIndex, Manifests: []descriptor{manifest}})
	if err != nil {
		return err
	}
	dockerJSON, err := json.Marshal([]map[string]any{{
		"Config": configBlob.blob(), "RepoTags": []string{config.Ref}, "Layers": []string{layer.blob()},
	}})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	for _, entry := range []struct {
		name string
		data []byte
	}{
		{configBlob.blob(), configJSON},
		{manifestBlob, manifestJSON},
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", indexJSON},
		{"manifest.json", dockerJSON},
	} {
		if err := archive.WriteHeader(fileHeader(entry.name, int64(len(entry.data)))); err != nil {
			return err
		}
		if _, err := archive.Write(entry.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// index is index.json.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

func platform() map[string]string {
	return map[string]string{"os": "linux", "architecture": runtime.GOARCH}
}

func configOf(c Config, diffID string) map[string]any {
	env := c.Env
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append([]string{defaultPath}, env...)
	}
	run := map[string]any{"Env": env}
	set := func(key string, value any, isSet bool) {
		if isSet {
			run[key] = value
		}
	}
	set("Entrypoint", c.Entrypoint, len(c.Entrypoint) > 0)
	set("StopSignal", c.StopSignal, c.StopSignal != "")
	set("Cmd", c.Cmd, len(c.Cmd) > 0)
	set("User", c.User, c.User != "")
	set("WorkingDir", c.WorkingDir, c.WorkingDir != "")
	return map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "created": epoch.UTC(), "config": run,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diffID}},
	}
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func describe(mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
}

func fileHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: epoch, Format: tar.FormatUSTAR}
}

// writeLayer streams the layer to the start of out behind a gap for its header,
// and then fills the gap, with the digest and the size.
func writeLayer(out *os.File, fill func(*Layer) error) (descriptor, error) {
	if _, err := out.Seek(blockSize, io.SeekStart); err != nil {
		return descriptor{}, err
	}
	counted := &countingHash{sum: sha256.New()}
	buffered := bufio.NewWriterSize(out, 1<<20)
	layer := newLayer(io.MultiWriter(buffered, counted))
	if err := fill(layer); err != nil {
		return descriptor{}, err
	}
	if err := layer.tar.Close(); err != nil {
		return descriptor{}, err
	}
	padding := (blockSize - counted.size%blockSize) % blockSize
	if _, err := buffered.Write(make([]byte, padding)); err != nil {
		return descriptor{}, err
	}
	if err := buffered.Flush(); err != nil {
		return descriptor{}, err
	}
	d := descriptor{MediaType: mediaLayer, Digest: "sha256:" + hex.EncodeToString(counted.sum.Sum(nil)), Size: counted.size}
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(fileHeader(d.blob(), d.Size)); err != nil {
		return descriptor{}, err
	}
	if header.Len() != blockSize {
		return descriptor{}, fmt.Errorf("layer header takes %d bytes, want %d", header.Len(), blockSize)
	}
	_, err := out.WriteAt(header.Bytes(), 0)
	return d, err
}

// countingHash is a hash that counts the bytes written to it.
type countingHash struct {
	sum  hash.Hash
	size int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.sum.Write(p)
}

// Info is what the index of an archive names.
type Info struct {
	// Ref is the image's name.
	Ref string
	// Digest is that of its manifest: its identity in containerd.
	Digest string
}

// ErrNoIndex means that a tar file has no OCI index, so that nothing is known
// about it before it is imported.
var ErrNoIndex = errors.New("no OCI index in the archive")

// Inspect reads the index of an archive.
func Inspect(file string) (Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return Info{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return Info{}, fmt.Errorf("%s: %w", file, ErrNoIndex)
		}
		if err != nil {
			return Info{}, fmt.Errorf("%s: not an image archive: %w", file, err)
		}
		if path.Clean(header.Name) != "index.json" {
			continue
		}
		var idx index
		if err := json.NewDecoder(io.LimitReader(archive, 1<<20)).Decode(&idx); err != nil {
			return Info{}, fmt.Errorf("%s: index.json: %w", file, err)
		}
		if len(idx.Manifests) != 1 || idx.Manifests[0].Annotations[nameAnnotation] == "" {
			return Info{}, fmt.Errorf("%s: %w that names one image", file, ErrNoIndex)
		}
		return Info{Ref: idx.Manifests[0].Annotations[nameAnnotation], Digest: idx.Manifests[0].Digest}, nil
	}
}
