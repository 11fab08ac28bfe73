// Package check is the verification of a volume by a Job: the trust data that
// the agent gets, and the verdict from its report.
package check
