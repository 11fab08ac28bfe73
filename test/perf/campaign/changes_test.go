package campaign_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity"
)

// target is a file that a build reads, and how it can be changed.
type target struct {
	kind  string
	cache integrity.Cache
	path  string
}

// change changes one file so that a build reads something else, requires Corrupt,
// and takes it back.
func (p *play) change() {
	list := p.targets()
	if len(list) == 0 {
		p.reset()
		list = p.targets()
	}
	// Kinds first: there are far more build outputs than anything else.
	kinds := map[string][]target{}
	var names []string
	for _, t := range list {
		if kinds[t.kind] == nil {
			names = append(names, t.kind)
		}
		kinds[t.kind] = append(kinds[t.kind], t)
	}
	of := kinds[names[p.rng.IntN(len(names))]]
	t := of[p.rng.IntN(len(of))]
	undo, what := p.inflict(t)
	if undo == nil {
		return
	}
	v := p.check(t.cache)
	p.must(undo())
	p.done.Changes[what]++
	if v.Verdict != integrity.OutcomeCorrupt {
		rel, err := filepath.Rel(p.tree.Root, t.path)
		p.must(err)
		text := fmt.Sprintf("seed %d, episode %d: %s of %s: %s: %s", *seed, p.number, what, rel, v.Verdict, v.Message)
		p.done.Missed = append(p.done.Missed, text)
		p.Error(text)
	}
}

// targets are in the order of their paths, so that an episode is repeatable.
func (p *play) targets() (list []target) {
	downloads := filepath.Join(p.tree.ModCache, "cache", "download")
	add := func(kind string, cache integrity.Cache, path string) { list = append(list, target{kind, cache, path}) }
	p.walk(p.tree.ModCache, func(path string, size int64) {
		base, ext := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
		switch {
		case !strings.HasPrefix(path, filepath.Join(p.tree.ModCache, "cache")):
			at, _, _ := strings.Cut(strings.TrimPrefix(path, p.tree.ModCache+"/"), "@")
			version, _, _ := strings.Cut(path[len(p.tree.ModCache)+len(at)+2:], "/")
			record := filepath.Join(downloads, at, "@v", version)
			// A directory that is not complete is extracted again, whatever is in it.
			if size > 0 && !exists(record+".partial") && exists(record+".ziphash") {
				add("extracted file", integrity.Modules, path)
			}
		case ext == ".zip" && exists(base+".ziphash") && len(valid(base+".ziphash")) > 0:
			add("zip", integrity.Modules, path)
		case ext == ".ziphash" && exists(base+".zip") && len(valid(path)) > 0:
			add("ziphash", integrity.Modules, path)
		case ext == ".mod" && exists(base+".zip") && size > 0:
			add("mod", integrity.Modules, path)
		}
	})
	sizes := map[string]int64{}
	p.walk(p.tree.BuildCache, func(path string, _ int64) {
		if !strings.HasSuffix(path, "-a") {
			return
		}
		data, err := os.ReadFile(path) //nolint:gosec // of the test
		if err != nil {
			return
		}
		if e, err := buildcache.ParseEntry(data); err == nil && strings.HasSuffix(path, e.Action.String()+"-a") {
			sizes[filepath.Join(p.tree.BuildCache, e.Output.OutputPath())] = e.Size
		}
	})
	p.walk(p.tree.BuildCache, func(path string, size int64) {
		entry := path
		if strings.HasSuffix(filepath.Dir(path), "-d") {
			entry = filepath.Dir(path)
		}
		if want, ok := sizes[entry]; ok && want == size && size > 0 {
			add("output", integrity.Build, path)
		}
	})
	return list
}

// valid is the text of a .ziphash that the go command uses.
func valid(name string) string {
	data, err := os.ReadFile(name) //nolint:gosec // of the test
	if err != nil || len(data) != 47 || bytes.IndexByte(data, 0) >= 0 {
		return ""
	}
	return string(data)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func (p *play) walk(dir string, each func(path string, size int64)) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			each(path, info.Size())
		}
		return err
	})
	p.must(err)
}

// inflict changes a target; nil: there is nothing to change.
func (p *play) inflict(t target) (undo func() error, what string) {
	before, err := os.ReadFile(t.path)
	p.must(err)
	info, err := os.Stat(t.path)
	p.must(err)
	write := func(data []byte) {
		if exists(t.path) {
			p.must(os.Chmod(t.path, 0o600))
		}
		p.must(os.WriteFile(t.path, data, 0o600))
		p.must(os.Chmod(t.path, info.Mode().Perm()))
	}
	undo = func() error { write(before); return nil }
	at := p.rng.IntN(len(before))
	inverted := func() []byte {
		data := bytes.Clone(before)
		data[at] ^= 1 << p.rng.IntN(8)
		return data
	}
	switch t.kind {
	case "output": // of the size that entries record: any other counts as missing
		if p.rng.IntN(2) == 0 {
			data := bytes.Clone(before)
			end := min(len(data), at+1+p.rng.IntN(4096))
			changed := false
			for i := at; i < end; i++ {
				changed = changed || data[i] != 0
				data[i] = 0
			}
			if !changed {
				data[at] = 1
			}
			write(data)
			return undo, "zeros in a build output"
		}
		write(inverted())
		return undo, "inverted bit of a build output"
	case "extracted file":
		switch p.rng.IntN(5) {
		case 0:
			write(append(bytes.Clone(before), '\n'))
			return undo, "longer extracted file"
		case 1:
			write(before[:at])
			return undo, "shorter extracted file"
		case 2:
			p.must(os.Chmod(filepath.Dir(t.path), 0o700)) //nolint:gosec // of the test
			p.must(os.Remove(t.path))
			return undo, "deleted extracted file"
		case 3:
			added := filepath.Join(filepath.Dir(t.path), "zz_added.go")
			p.must(os.Chmod(filepath.Dir(t.path), 0o700)) //nolint:gosec // of the test
			p.must(os.WriteFile(added, []byte("package x\n"), 0o600))
			return func() error { return os.Remove(added) }, "added extracted file"
		}
		write(inverted())
		return undo, "inverted bit of an extracted file"
	case "zip":
		other := p.rezip(before)
		if other == nil {
			return nil, ""
		}
		write(other)
		return undo, "zip with another content"
	case "ziphash":
		sum, err := base64.StdEncoding.DecodeString(string(before[3:]))
		p.must(err)
		sum[p.rng.IntN(len(sum))] ^= 1 << p.rng.IntN(8)
		write([]byte("h1:" + base64.StdEncoding.EncodeToString(sum)))
		return undo, "another sum in .ziphash"
	case "mod":
		// Without a go.mod in the zip, only trust data could show it.
		if strings.Contains(t.path, "nomod") {
			return nil, ""
		}
		write(append(bytes.Clone(before), "\nrequire example.com/zz v1.0.0\n"...))
		return undo, "another requirement in .mod"
	}
	return nil, ""
}

// rezip is the same zip with one byte of one file changed.
func (p *play) rezip(data []byte) []byte {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	p.must(err)
	n := p.rng.IntN(len(r.File))
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i, f := range r.File {
		if i != n || f.UncompressedSize64 == 0 {
			p.must(w.Copy(f))
			if i == n {
				return nil
			}
			continue
		}
		in, err := f.Open()
		p.must(err)
		text, err := io.ReadAll(in)
		p.must(err)
		text[p.rng.IntN(len(text))] ^= 1 << p.rng.IntN(8)
		out, err := w.Create(f.Name)
		p.must(err)
		_, err = out.Write(text)
		p.must(err)
	}
	p.must(w.Close())
	return buf.Bytes()
}
