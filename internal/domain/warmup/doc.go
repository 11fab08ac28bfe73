// Package warmup is what the operator and the agent that fills a cache exchange:
// the sources of a warm-up, which the operator passes as JSON in arguments of
// the agent ([Source.Flag], [ParseSource]), and the report of a warm-up, which
// the agent leaves as JSON in its termination message ([Report.Fit], [Parse]).
package warmup
