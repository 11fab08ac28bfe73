package chart

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/semver"
)

// Options are what a release sets in the chart.
type Options struct {
	// Root is the top of the repository.
	Root string
	// Version is that of the release, such as v0.1.0; the chart has it without
	// the v, as Helm requires. What is no release becomes chart 0.0.0-dev.
	Version string
	// Repository of the operator's image, without tag.
	Repository string
	// Digest of the image; empty: it is found by its tag.
	Digest string
}

// Write generates the chart into dir, which must not exist.
func Write(dir string, o Options) error {
	files, err := Files(o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists: remove it, for files of an older chart would stay in it", dir)
	}
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // not secret
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil { //nolint:gosec // not secret
			return err
		}
	}
	return nil
}

// Files are the files of the chart by name.
func Files(o Options) (map[string][]byte, error) {
	files, err := sources(filepath.Join(o.Root, "config", "chart"))
	if err != nil {
		return nil, err
	}
	if err := set(files, "Chart.yaml", map[string]string{
		"version: 0.0.0-dev": "version: " + chartVersion(o.Version),
		`appVersion: "dev"`:  fmt.Sprintf("appVersion: %q", o.Version),
	}); err != nil {
		return nil, err
	}
	if err := set(files, "values.yaml", map[string]string{
		"repository: gocache.dev/operator": "repository: " + o.Repository,
		`digest: ""`:                       fmt.Sprintf("digest: %q", o.Digest),
	}); err != nil {
		return nil, err
	}
	for _, folder := range []string{"default", "prometheus", "push"} {
		objects, err := Kustomize(o.Root, folder)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			if object.kind() == "Namespace" {
				continue // Helm's own: --create-namespace
			}
			text, err := templateOf(object)
			if err != nil {
				return nil, err
			}
			name := path.Join("templates", strings.ToLower(object.kind()+"-"+strings.TrimPrefix(object.name(), "gocache-"))+".yaml")
			if files[name] != nil {
				return nil, fmt.Errorf("two objects would be %s in the chart", name)
			}
			files[name] = []byte(text)
		}
	}
	return files, nil
}

// chartVersion is a semantic version: Helm accepts no other.
func chartVersion(version string) string {
	if !semver.IsValid(version) {
		return "0.0.0-dev"
	}
	return strings.TrimPrefix(version, "v")
}

func templateOf(o object) (string, error) {
	var t template
	condition, err := t.edit(o)
	if err != nil {
		return "", err
	}
	text, err := t.render(o)
	if err != nil || condition == "" {
		return text, err
	}
	values := strings.Fields(condition)
	expression := ".Values." + strings.Join(values, " .Values.")
	if len(values) > 1 {
		expression = "and " + expression
	}
	return "{{- if " + expression + " }}\n" + text + "{{- end }}\n", nil
}

// sources are the files of the chart that are written by hand.
func sources(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[file], err = fs.ReadFile(root, file)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart's own files: %w", err)
	}
	return files, nil
}

// set replaces texts that must each occur once.
func set(files map[string][]byte, name string, replacements map[string]string) error {
	text := string(files[name])
	for from, to := range replacements {
		if n := strings.Count(text, from); n != 1 {
			return fmt.Errorf("config/chart/%s has %q %d times, and a release replaces it once", name, from, n)
		}
		text = strings.Replace(text, from, to, 1)
	}
	files[name] = []byte(text)
	return nil
}
