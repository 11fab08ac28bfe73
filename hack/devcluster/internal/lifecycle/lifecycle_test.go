package lifecycle

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/image"
)

func TestPick(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		desired cluster.Spec
		indexes []int
		used    []string
		links   []string
		want    int
		err     string
	}{
		"the first":                    {indexes: []int{0, 1, 2}, want: 0},
		"not where a route goes":       {indexes: []int{0, 1, 2}, used: []string{"10.222.0.0/24", "10.223.1.0/26"}, want: 2},
		"not where a link is":          {indexes: []int{0, 1, 2}, links: []string{"gcdev0"}, want: 1},
		"a small network in a big one": {indexes: []int{0, 1}, used: []string{"10.224.0.128/32"}, want: 1},
		"asked for and taken":          {indexes: []int{1}, links: []string{"gcdev1"}, err: "gcdev1 exists"},
		"all taken":                    {indexes: []int{0, 1}, used: []string{"10.0.0.0/8"}, err: "no free networks"},
		"networks of one's own": {
			desired: cluster.Spec{
				NodeCIDR: netip.MustParsePrefix("172.31.0.0/24"), PodCIDR: netip.MustParsePrefix("172.31.1.0/24"),
				ServiceCIDR: netip.MustParsePrefix("172.31.16.0/20"),
			},
			indexes: []int{0}, used: []string{"10.0.0.0/8"}, want: 0,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var used []netip.Prefix
			for _, u := range test.used {
				used = append(used, netip.MustParsePrefix(u))
			}
			got, err := pick(test.desired, test.indexes, used, func(link string) bool {
				return strings.Contains(strings.Join(test.links, " "), link)
			})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || got.Index != test.want {
				t.Errorf("got index %d, %v, want %d", got.Index, err, test.want)
			}
		})
	}
}

func TestParseImages(t *testing.T) {
	t.Parallel()
	table := "REF TYPE DIGEST SIZE PLATFORMS LABELS\n" +
		"gocache.dev/pause:1  application/vnd.oci.image.manifest.v1+json sha256:aa 1.4 MiB linux/amd64 -\n" +
		"sha256:bb application/vnd.oci.image.manifest.v1+json sha256:aa 1.4 MiB linux/amd64 -\n"
	want := map[string]string{"gocache.dev/pause:1": "sha256:aa", "sha256:bb": "sha256:aa"}
	if diff := cmp.Diff(want, parseImages([]byte(table))); diff != "" {
		t.Error(diff)
	}
}

// TestImageByDigest names images as the manifests of a release do.
func TestImageByDigest(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{
		"gocache.dev/operator:v0.1.0": "gocache.dev/operator@sha256:1", "localhost:5000/operator": "localhost:5000/operator@sha256:1",
		"localhost:5000/operator:1": "localhost:5000/operator@sha256:1", "operator": "operator@sha256:1",
	} {
		if got := byDigest(image.Info{Ref: ref, Digest: "sha256:1"}); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
}

func TestDownRefusesAForeignFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := foreign(dir); err != nil {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := foreign(dir); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := foreign(dir); err == nil {
		t.Error("a folder with other content would be removed")
	}
}
