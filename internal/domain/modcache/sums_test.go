package modcache_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := modcache.ParseInfo(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil { // a time that has no text form
			return
		}
		again, err := modcache.ParseInfo(text)
		if err != nil || again.Version != m.Version || !again.Time.Equal(m.Time) {
			t.Fatalf("%q is read as %+v and again as %+v, %v", data, m, again, err)
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("v1.0.0\nv1.2.0-rc.1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if versions, err := modcache.ParseList(data); err == nil && !bytes.Equal(modcache.FormatList(versions), data) {
			t.Fatalf("%q is read as %q", data, versions)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("github.com/!burnt!sushi/toml", "v1.0.0")
	f.Add("example.com/a", "v1.0.0-!r!c1")
	f.Fuzz(func(t *testing.T, path, version string) {
		e := modcache.Escaped{Path: path, Version: version}
		m, err := e.Unescape()
		if err != nil {
			return
		}
		back, err := modcache.Escape(m)
		if err != nil || back != e {
			t.Fatalf("%+v is %v, which is %+v, %v", e, m, back, err)
		}
		if d, err := modcache.ParseDir(e.Dir()); err != nil || d != m {
			t.Fatalf("%s is %v, %v, want %v", e.Dir(), d, err, m)
		}
		for _, k := range []modcache.Kind{modcache.Info, modcache.Mod, modcache.Zip, modcache.Ziphash, modcache.Lock, modcache.Partial} {
			name := strings.TrimPrefix(e.File(k), e.VersionDir()+"/")
			v, kind := modcache.SplitName(name)
			if kind != modcache.Temp && kind != modcache.List && (v != version || kind != k) {
				t.Fatalf("%s is split into %q, %d", name, v, kind)
			}
		}
	})
}

func TestSumGoMod(t *testing.T) {
	data := []byte("module example.com/m\n")
	want, err := dirhash.Hash1([]string{"go.mod"}, opener(data))
	if err != nil || modcache.SumGoMod(data).String() != want {
		t.Errorf("%s, want %s, %v", modcache.SumGoMod(data), want, err)
	}
}

func TestCompareIsTotal(t *testing.T) {
	all := []module.Version{{Path: "b", Version: "v1"}, {Path: "a", Version: "v2"}, {Path: "a", Version: "v1"}}
	slices.SortFunc(all, modsum.Compare)
	if all[0].Version != "v1" || all[2].Path != "b" {
		t.Error(all)
	}
}

// TestCheckInfo holds which answers to a request for an .info can be right.
func TestCheckInfo(t *testing.T) {
	for _, tt := range []struct {
		path, asked, version string
		right                bool
	}{
		{"example.com/m", "v1.2.3", "v1.2.3", true},
		{"example.com/m", "v1.2.3", "v1.2.4", false},
		{"example.com/m", "v1.2.3", "v1.2.3+meta", false},
		{"example.com/m", "v1", "v1.2.3", true},
		{"example.com/m", "v1", "v1", false},
		{"example.com/m", "master", "v0.0.0-20240102030405-0123456789ab", true},
		{"example.com/m", "master", "master", false},
		{"example.com/m", "latest", "v1.2.3", true},
		{"example.com/m", "latest", "v2.0.0", false},
		{"example.com/m", "v2.0.0", "v2.0.0+incompatible", true},
		{"example.com/m", "v2.0.0+incompatible", "v2.0.0+incompatible", true},
		{"example.com/m/v2", "v2.0.0", "v2.0.0", true},
		{"example.com/m/v2", "v1.0.0", "v2.0.0", true},
		{"example.com/m/v2", "latest", "v1.0.0", false},
		{"gopkg.in/yaml.v2", "v2", "v2.4.0", true},
		{"gopkg.in/yaml.v2", "v2", "v3.0.0", false},
	} {
		text := []byte(`{"Version":"` + tt.version + `","Time":"2024-01-02T03:04:05Z"}`)
		if err := modcache.CheckInfo(module.Version{Path: tt.path, Version: tt.asked}, text); (err == nil) != tt.right {
			t.Errorf("%s@%s is said to be %s: %v", tt.path, tt.asked, tt.version, err)
		}
	}
}
