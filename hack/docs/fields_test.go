package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestFieldsExist asserts that every field which a page names, such as
// spec.storage.growth or status.latestVerifiedSnapshot, is one of the API.
func TestFieldsExist(t *testing.T) {
	known := fieldsOfAPI(t)
	tops := map[string]bool{} // first names below spec and status
	for path := range known {
		if parts := strings.Split(path, "."); len(parts) == 2 {
			tops[parts[1]] = true
		}
	}
	span := regexp.MustCompile("`([a-z][A-Za-z]*(?:\\[\\])?(?:\\.[a-z][A-Za-z]*(?:\\[\\])?)+)(?:: [^`]+)?`")
	kubectl := regexp.MustCompile(`\{\.(status(?:\.[a-zA-Z]+)+)\}`)
	named := 0
	for _, page := range pagesOf(t) {
		if !strings.HasPrefix(page, "docs/") && page != "README.md" {
			continue
		}
		text := read(t, page)
		paths := all(section.ReplaceAllString(text, ""), span.String())
		paths = append(paths, all(text, kubectl.String())...)
		for _, path := range paths {
			bare := strings.ReplaceAll(path, "[]", "")
			top, _, _ := strings.Cut(bare, ".")
			switch {
			case top == "spec" || top == "status":
				named++
				if !known[bare] {
					t.Errorf("%s names the field %s, which does not exist", page, path)
				}
			case tops[top]:
				named++
				if !known["spec."+bare] && !known["status."+bare] {
					t.Errorf("%s names the field %s, which exists neither below spec nor below status", page, path)
				}
			}
		}
	}
	if named < 60 {
		t.Errorf("the pages name %d fields only", named)
	}
}

// fieldsOfAPI are the paths of all fields of all kinds.
func fieldsOfAPI(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	known := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			t.Fatal(err)
		}
		walk(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, "", func(path string, _ schema, _ bool) {
			known[strings.ReplaceAll(path, "[]", "")] = true
		})
	}
	return known
}

// TestYAMLParses asserts that every YAML block of every page is YAML.
func TestYAMLParses(t *testing.T) {
	block := regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```")
	blocks := 0
	for _, page := range pagesOf(t) {
		for _, m := range block.FindAllStringSubmatch(read(t, page), -1) {
			for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(m[1], -1) {
				blocks++
				var value any
				if err := yaml.UnmarshalStrict([]byte(doc), &value); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, doc)
				}
			}
		}
	}
	if blocks < 15 {
		t.Errorf("found %d blocks only", blocks)
	}
}
