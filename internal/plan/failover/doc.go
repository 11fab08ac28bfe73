// Package failover decides how much each instance of a module proxy serves.
//
// It takes the observed state of the instances and the earlier decision, and
// returns the desired weights, the reasons, the state to keep, and when to
// decide again. The same input gives the same decision, and deciding again
// without a new observation changes nothing.
//
// # Two kinds of fault
//
// A health fault (an instance is not ready, does not follow the protocol, has a
// full disk, cannot reach the checksum database that others reach) moves
// weight. It never empties the router: when no better instance is left, the
// weights stay as they are, and NoHealthy is set.
//
// An integrity fault (a file whose checksum contradicts trust, a store that a
// check found corrupt) quarantines the instance. A quarantined instance has no
// weight, even if no other is left. Neither time nor good answers end the
// quarantine: only reinstating does, because the store contained corrupt
// content.
//
// Damage in a store which its server itself refuses to serve (Contained) reaches
// no client, so it takes no instance out while no other one is known to serve.
//
// A contradiction between instances (Consistency) quarantines no instance: only
// trust data decides that. An instance that is singled out by the sums that all
// had agreed on, or by the majority of three, loses weight as with a health
// fault; of two that differ without such a reference none is, and no weight
// moves. See Compare.
//
// What lies behind all instances, such as the checksum database, is held against
// one only if another does better. See Reached.
//
// A probe without a result is neither good nor bad; a fault is confirmed after
// as many failures in a row as its threshold, and so is recovery. A checksum
// mismatch should have a threshold of one: the prober has ruled out damage by
// the network, and clients fail until it is confirmed.
//
// # Leaving and coming back
//
// Leaving is immediate and never limited. Coming back is slow: recovery must
// last for the hold-down, which doubles with each relapse; then the weight
// grows in steps. maxFailbacksPerHour limits how often failbacks start. A
// relapse is forgotten when the instance was fully back for the longest
// hold-down.
//
// An instance in its hold-down serves at once if there is no better one.
//
// # Which instance serves
//
// The first group that has a member, of those not quarantined and not taken out
// of service: active and in; standby and in; active and healthy but held;
// standby likewise; those that served before; any.
//
// A healthy standby is always open: a router that supports standbys may then
// use it without waiting for a decision. Serving is set for the instances that
// are meant to serve now, for routers without standbys.
//
// In manual mode the user chooses one instance, which serves alone, healthy or
// not, but never in quarantine. The request "failover" does the same for as
// long as the chosen one is fit, or until "failback".
package failover
