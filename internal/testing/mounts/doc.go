// Package mounts finds in a pod which volumes lead from one container to another,
// so that tests can hold which containers have something in common.
package mounts
