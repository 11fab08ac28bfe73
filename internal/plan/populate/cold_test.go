package populate_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/populate"
)

func TestCold(t *testing.T) {
	t.Parallel()
	written := populate.Build{Release: "go1.26.8", Platform: "linux/amd64", MountPath: "/gocache"}
	for _, tt := range []struct {
		written, expects populate.Build
		want             []string
	}{
		{written, populate.Build{}, nil},
		{written, written, nil},
		{written, populate.Build{Release: "1.26.8"}, nil},
		{written, populate.Build{Release: "1.26"}, nil},
		{written, populate.Build{Release: "go1.26"}, nil},
		{populate.Build{}, written, nil}, // unknown
		{written, populate.Build{Release: "go1.26.9"}, []string{"by go1.26.8, not go1.26.9"}},
		{written, populate.Build{Release: "1.2"}, []string{"not 1.2"}},
		{written, populate.Build{Platform: "linux/arm64"}, []string{"for linux/amd64, not linux/arm64"}},
		{written, populate.Build{MountPath: "/cache"}, []string{"at /gocache, not /cache"}},
		{written, populate.Build{Release: "1.25.1", Platform: "linux/arm64", MountPath: "/c"}, []string{"go1.25.1"[2:], "linux/arm64", "/c"}},
	} {
		got := populate.Cold(populate.Observation{Claim: populate.Claim{For: tt.expects}, Source: populate.Source{Written: tt.written}})
		if len(got) != len(tt.want) {
			t.Errorf("%+v for %+v: %q, want %q", tt.written, tt.expects, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%+v for %+v: %q, want %q", tt.written, tt.expects, got, tt.want)
			}
		}
	}
}
