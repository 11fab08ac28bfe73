package modcache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/modcache"
)

const someSum = "h1:g52VgphPSaK+9iVTWqTHH74atAmNv+jZls74eXeSSog="

func TestParseSum(t *testing.T) {
	s, err := modcache.ParseSum([]byte(someSum))
	if err != nil || s.String() != someSum {
		t.Fatalf("%v, %v", s, err)
	}
	for text, heals := range map[string]bool{
		"": true, someSum[:46]: true, someSum + "\n": true, strings.Repeat("\x00", 47): true, someSum[:20] + "\x00" + someSum[21:]: true,
		"h2" + someSum[2:]: false, someSum[:20] + "!" + someSum[21:]: false, someSum[:45] + "h=": false,
	} {
		if _, err := modcache.ParseSum([]byte(text)); err == nil || errors.Is(err, modcache.ErrHealing) != heals {
			t.Errorf("%q: %v, heals by itself: want %t", text, err, heals)
		}
	}
}

func FuzzParseSum(f *testing.F) {
	f.Add([]byte(someSum))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := modcache.ParseSum(data); err == nil && s.String() != string(data) {
			t.Fatalf("%q is read as %s", data, s)
		}
	})
}

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
	slices.SortFunc(all, modcache.Compare)
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
