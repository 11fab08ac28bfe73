package goenv_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/goenv"
)

func TestOnline(t *testing.T) {
	tests := []struct {
		name string
		in   goenv.Settings
		want map[string]string
	}{
		{"both caches and the toolchain's own defaults",
			goenv.Settings{MountPath: "/gocache", Modules: true, Build: true},
			map[string]string{"GOTOOLCHAIN": "local", "GOMODCACHE": "/gocache/mod", "GOCACHE": "/gocache/build"}},
		{"one cache",
			goenv.Settings{MountPath: "/c", Build: true},
			map[string]string{"GOTOOLCHAIN": "local", "GOCACHE": "/c/build"}},
		{"private modules from our proxy",
			goenv.Settings{Proxy: "http://r|http://r", ManagedProxy: true, PrivatePatterns: []string{"corp.example.com", "*.test"}},
			map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "http://r|http://r", "GONOSUMDB": "corp.example.com,*.test", "GONOPROXY": "none"}},
		{"private modules past somebody's proxy",
			goenv.Settings{Proxy: "http://p", PrivatePatterns: []string{"corp.example.com"}},
			map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "http://p", "GOPRIVATE": "corp.example.com"}},
		{"strict",
			goenv.Settings{Strict: true, ChecksumDatabase: "off"},
			map[string]string{"GOTOOLCHAIN": "local", "GOSUMDB": "off", "GOENV": "off", "GOWORK": "off", "GOFLAGS": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, goenv.Online(tt.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOfflineMakesNoRequest(t *testing.T) {
	got := goenv.Offline(goenv.Settings{MountPath: "/gocache", Modules: true, Proxy: "http://r"})
	want := map[string]string{"GOTOOLCHAIN": "local", "GOMODCACHE": "/gocache/mod", "GOPROXY": "off"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
