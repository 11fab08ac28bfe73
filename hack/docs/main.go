// Command docs writes the parts of the documentation that would go stale by
// hand, so that what a person reads is what the code does. The prose around
// them is left alone.
//
// A generated part stands between the lines
//
//	<!-- generated: NAME -->
//	<!-- end -->
//
// In docs/reference/v1alpha1/<kind>.md NAME is spec, status, rules or columns, and
// comes from the CRDs. In docs/design/architecture.md it is packages, and comes from
// the first sentence of each package's comment. In docs/reference/NAME.md it is
// conditions, events, metrics or labels, and comes from the sources.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	err := errors.Join(
		kinds("config/crd/bases", "docs/reference/v1alpha1"),
		architecture("docs/design/architecture.md"),
		reference(".", "docs/reference"),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func architecture(page string) error {
	table, err := packages()
	if err != nil {
		return err
	}
	return rewrite(page, map[string]string{"packages": table})
}

// listings are the pages below docs/reference that are made from the sources.
var listings = map[string]func(*sources) (string, error){
	"conditions": conditions,
	"events":     events,
	"metrics":    metrics,
	"labels":     labels,
}

// reference renews the pages that list what the sources of the programs hold.
func reference(top, docs string) error {
	s, err := parseSources(top)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(listings)) {
		text, err := listings[name](s)
		if err == nil {
			err = rewrite(filepath.Join(docs, name+".md"), map[string]string{name: text})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func kinds(crds, docs string) error {
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no CRD: run from the top of the repository, after generate-api", crds)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, kind(file, docs))
	}
	return errors.Join(errs...)
}

// kind renews the page of one CRD.
func kind(file, docs string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	version := crd.Spec.Versions[0]
	root := *version.Schema.OpenAPIV3Schema
	return rewrite(filepath.Join(docs, crd.Spec.Names.Singular+".md"), map[string]string{
		"spec":    fields(root.Properties["spec"]),
		"status":  fields(root.Properties["status"]),
		"rules":   rules(root),
		"columns": columns(version.AdditionalPrinterColumns),
	})
}

// rewrite renews the sections of a page.
func rewrite(page string, sections map[string]string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("a generated part has no page: %w", err)
	}
	renewed, err := renew(string(text), sections)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if renewed == string(text) {
		return nil // it keeps its time, and with it the results of tests that read it
	}
	return os.WriteFile(page, []byte(renewed), 0o644)
}

var section = regexp.MustCompile(`(?s)(<!-- generated: (\w+) -->\n).*?(<!-- end -->)`)

// renew replaces the generated sections of a page. Every section must be
// there: a page that lost one would go stale unnoticed.
func renew(page string, sections map[string]string) (string, error) {
	seen := map[string]bool{}
	page = section.ReplaceAllStringFunc(page, func(old string) string {
		m := section.FindStringSubmatch(old)
		text, ok := sections[m[2]]
		if !ok {
			return old
		}
		seen[m[2]] = true
		return m[1] + "\n" + text + "\n" + m[3]
	})
	for name := range sections {
		if !seen[name] {
			return "", fmt.Errorf("no section %q: add the lines <!-- generated: %s --> and <!-- end -->", name, name)
		}
	}
	return page, nil
}
