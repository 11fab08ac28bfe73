// Package check is the verification of a volume by a Job: what the agent is
// told to trust, and what is made of its report.
package check
