// Package runners makes pods and PVCs as CI systems make them from the pages of
// docs/ci/runners.
package runners
