// Package verify is the command that checks caches: it reads what the check
// needs, runs [gocache.dev/operator/internal/domain/integrity.Check], and
// reports to those who wait for the verdict: a person at a terminal, a program
// that reads JSON, and Kubernetes, which keeps the termination log.
package verify
