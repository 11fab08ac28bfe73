package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/internal/testing/env"
)

// TestRecipes applies every object of every recipe as a user would copy
// it, in a namespace that enforces Pod Security "restricted".
func TestRecipes(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(env.Root(), "docs", "ci", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no recipes: %v", err)
	}
	total := 0
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			objects := objectsOf(t, page)
			total += len(objects)
			ns := restricted(t)
			for _, o := range objects {
				o.SetNamespace(ns)
			}
			applyAgain(t, objects)
			podsAreRestricted(t, ns, objects)
		})
	}
	if total < 4 {
		t.Errorf("the recipes hold %d objects: they are not found", total)
	}
}

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	separator = regexp.MustCompile(`(?m)^---$`)
)

// objectsOf are those of a page's YAML blocks.
func objectsOf(t *testing.T, page string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		for _, doc := range separator.Split(block[1], -1) {
			u := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(doc), &u.Object); err != nil {
				t.Fatalf("%v\n%s", err, doc)
			}
			objects = append(objects, u)
		}
	}
	return objects
}
