package cachetree_test

import (
	"testing"

	"gocache.dev/operator/internal/testing/cachetree"
)

func TestBuildsOffline(t *testing.T) {
	tree := cachetree.New(t)
	tree.Offline = true
	first, out, err := tree.Build()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	second, _, err := tree.Build()
	if err != nil || first != second {
		t.Fatalf("builds differ: %s, %s, %v", first, second, err)
	}
}
