package check_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/check"
)

// A Job checks the whole volume of a cache; the store of a proxy has entries of
// its server at its root.
func TestContentIsTheFullVolume(t *testing.T) {
	for name, tt := range map[string]struct {
		of   v1alpha1.SourceRecord
		want string
	}{
		"cache": {v1alpha1.SourceRecord{Layers: []v1alpha1.CacheLayer{v1alpha1.LayerModules}}, " --modcache /cache/mod --volume /cache"},
		"cache that a writer left": {
			v1alpha1.SourceRecord{Layers: []v1alpha1.CacheLayer{v1alpha1.LayerBuild}, SealedDigest: "sha256:00"},
			" --buildcache /cache/build --volume /cache --sealed-digest sha256:00",
		},
		"store": {v1alpha1.SourceRecord{Layout: "goproxy"}, " --store /cache/modules --layout goproxy"},
	} {
		if got := strings.Join(agentcommand.Verify{Content: check.Content(&tt.of, "/cache")}.Args(), " "); !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s: %s, want it to end with %s", name, got, tt.want)
		}
	}
}
