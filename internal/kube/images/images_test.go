package images

import (
	"strings"
	"testing"
)

func TestToolchainFor(t *testing.T) {
	for _, tt := range []struct{ pattern, version, want string }{
		{"example.com/golang:{version}", "1.26.8", "example.com/golang:1.26.8"},
		{"example.com/go{version}/sdk:{version}-slim", "1.27rc1", "example.com/go1.27rc1/sdk:1.27rc1-slim"},
		{"example.com/golang@sha256:abc", "1.26.8", "example.com/golang@sha256:abc"},
		{DefaultToolchain, "1.26.8", "docker.io/library/golang:1.26.8"},
	} {
		if got := (Images{Toolchain: tt.pattern}).ToolchainFor(tt.version); got != tt.want {
			t.Errorf("ToolchainFor(%q) of %q is %q, want %q", tt.version, tt.pattern, got, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	complete := Images{Operator: "example.com/operator:dev", Toolchain: DefaultToolchain, HAProxy: DefaultHAProxy}
	if err := complete.Validate(); err != nil {
		t.Errorf("refused a whole set: %v", err)
	}
	err := (Images{Toolchain: "two words", HAProxy: DefaultHAProxy}).Validate()
	if err == nil {
		t.Fatal("accepted a set without the operator's image")
	}
	for _, want := range []string{"operator image", "toolchain image"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name the %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "HAProxy") {
		t.Errorf("%q accuses an image that is in order", err)
	}
}
