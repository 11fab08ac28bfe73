package manager

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"gocache.dev/operator/internal/domain/version"
)

func TestBuildInfo(t *testing.T) {
	want := `# HELP gocache_build_info 1, labelled with the version, commit and Go release of the manager.
# TYPE gocache_build_info gauge
gocache_build_info{commit="0123abc",go="go1.26.8",version="v0.1.0"} 1
`
	m := buildInfo(version.Info{Version: "v0.1.0", Commit: "0123abc", Go: "go1.26.8"})
	if err := testutil.CollectAndCompare(m, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
