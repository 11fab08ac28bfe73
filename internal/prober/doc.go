// Package prober probes the instances of module proxies in the background.
//
// A controller calls [Prober.Set] with the [Targets] of a proxy at every pass,
// and reads what is known with [Prober.Observe]: for each instance the streaks
// of outcomes by kind of probe, the last report of the agent beside its store,
// and the checksums that it served. The source of [Prober.Source] wakes the
// proxy when an outcome changes, or has repeated often enough to be confirmed,
// so that a healthy proxy causes no passes.
//
// Each instance is probed at its own interval, with jitter. The checksum
// database lies behind all instances of a proxy, so they are asked for it in one
// round. Comparing the instances costs no request: it uses what each of them
// served in its last round.
//
// A Prober runs on the leader only ([Prober.NeedLeaderElection]); nothing is
// probed before [Prober.Start]. What is known of an instance is kept as long as
// its target stays the same, and is lost with the process: a probe whose outcome
// is not known yet has a streak of length zero.
//
// The package does not decide anything: internal/plan/failover does, with the
// thresholds that a Target carries. It does not depend on how one probe is made
// (internal/domain/probe), nor on ModProxies.
package prober
