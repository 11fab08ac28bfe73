// Package chart generates the Helm chart from the kustomizations in config, so
// that both install the same objects.
//
// The objects of config/default are turned into templates: single fields become
// template expressions, and some objects become conditional. What kustomize has
// no word for lies in config/chart: Chart.yaml, values.yaml, their schema, the
// helpers and the notes. The Namespace is left to "helm install
// --create-namespace".
//
// The generated chart is not committed: it would repeat every CRD, and could
// differ from its source.
package chart
