package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestFieldsAreBounded asserts that a user who may create an object cannot make it as
// large as the API server allows: each list, map and string of a spec is bounded.
func TestFieldsAreBounded(t *testing.T) {
	var unbounded func(path string, s schema)
	unbounded = func(path string, s schema) {
		switch {
		case s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0 && s.Format == "":
			t.Errorf("%s has no maxLength", path)
		case s.Type == "array" && s.MaxItems == nil:
			t.Errorf("%s has no maxItems", path)
		case s.AdditionalProperties != nil && s.MaxProperties == nil:
			t.Errorf("%s has no maxProperties", path)
		}
		byRule := slices.ContainsFunc(s.XValidations, func(r apiextensionsv1.ValidationRule) bool {
			return strings.Contains(r.Rule, "k.size()<=") && strings.Contains(r.Rule, "self[k].size()<=")
		})
		if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil && !byRule {
			unbounded(path+"{}", *s.AdditionalProperties.Schema)
		}
		if s.Items != nil && s.Items.Schema != nil {
			unbounded(path+"[]", *s.Items.Schema)
		}
		for name, field := range s.Properties {
			unbounded(path+"."+name, field)
		}
	}
	for _, crd := range crds(t) {
		unbounded(crd.Spec.Names.Plural+".spec", crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"])
	}
}

// fieldsOfAPI are the paths of all fields of all kinds.
func fieldsOfAPI(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, crd := range crds(t) {
		walk(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, "", func(path string, _ schema, _ bool) {
			known[strings.ReplaceAll(path, "[]", "")] = true
		})
	}
	return known
}

// crds of all kinds.
func crds(t *testing.T) (all []apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd)
	}
	return all
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
