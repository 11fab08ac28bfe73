package chart

import (
	"fmt"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// object is one object of a kustomization, as decoded YAML.
type object map[string]any

// Kustomize builds a folder of config and returns its objects, in the order in
// which kubectl apply -k creates them: each namespace and kind before what needs
// it.
func Kustomize(root, folder string) ([]object, error) {
	dir := filepath.Join(root, "config", folder)
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", dir, err)
	}
	var objects []object
	for _, r := range built.Resources() {
		m, err := r.Map()
		if err != nil {
			return nil, fmt.Errorf("kustomize %s: %w", dir, err)
		}
		objects = append(objects, m)
	}
	return objects, nil
}

func (o object) kind() string { return fmt.Sprint(o["kind"]) }
func (o object) name() string { return fmt.Sprint(o.at("metadata")["name"]) }

// at is the map at a path below the object, created where it is missing.
func (o object) at(path ...string) map[string]any {
	m := map[string]any(o)
	for _, key := range path {
		next, ok := m[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[key] = next
		}
		m = next
	}
	return m
}
