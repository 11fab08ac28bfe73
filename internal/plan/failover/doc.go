// Package failover decides how much each instance of a module proxy serves.
//
// It takes what is known of the instances and what was decided before, and
// returns the weights that are wanted, why, what to remember, and when to
// look again. The same input gives the same decision, and deciding again
// without news changes nothing.
//
// # Two kinds of fault
//
// A health fault (an instance is not ready, does not speak the protocol, has
// a full disk, cannot reach the checksum database that others reach) moves weight. It never
// empties the router: when nothing better is left, the weights stay as they
// are, and NoHealthy says so.
//
// An integrity fault (a file whose checksum contradicts trust, a store that
// a check found corrupt) convicts. A convicted instance has no weight, even
// if that leaves nobody. Time does not heal it, nor do good answers: only an
// acquittal does, because what was wrong once lay in the store.
//
// Damage in a store which its server itself refuses to serve (Contained) reaches
// no client, so it takes nobody out while no other instance is known to serve.
//
// That instances contradict each other (Consistency) convicts nobody: trust data
// decides who is wrong. Who is singled out by what all had agreed on, or by the
// majority of three, loses weight as with a health fault; of two that differ
// without such a reference nobody is, and nothing moves. See Compare.
//
// What lies behind all instances, such as the checksum database, is held against
// one only if another does better. See Reached.
//
// A probe that could not find out is neither good nor bad; a fault is believed
// after as many failures in a row as its threshold says, and so is recovery.
// Wrong bytes ought to have a threshold of one: who asks has made sure that no
// network spoiled them, and clients fail as long as they are not believed.
//
// # Leaving and coming back
//
// Leaving is immediate and never limited. Coming back is slow: recovery must
// last for the hold-down, which doubles with each relapse; then the weight
// grows in steps. maxFailbacksPerHour limits how often anybody begins to come
// back. A relapse is forgotten when the instance was fully back for the
// longest hold-down.
//
// An instance in its hold-down serves at once if there is nobody better.
//
// # Who serves
//
// The first group that has a member, of those not convicted and not taken out
// of service: active and in; standby and in; active and healthy but held;
// standby likewise; whoever served before; anybody.
//
// A healthy standby is always open: a router that knows standbys may then use
// it without waiting for a decision. Serving tells who is meant to serve now,
// for routers that know no standbys.
//
// In manual mode one instance is chosen by a person and serves alone, healthy
// or not, convicted never. The request "failover" does the same for as long
// as the chosen one is fit, or until "failback".
package failover
