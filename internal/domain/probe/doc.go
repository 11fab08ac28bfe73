// Package probe asks a GOPROXY instance whether it does its job: is it ready,
// does it speak the protocol, are its bytes the right ones.
//
// A probe has three outcomes. Unknown means that it could not be found out,
// which is neither good nor bad: an instance that does not answer has served
// no wrong byte.
//
// A message holds the status of an answer and words of our own, never what the
// instance sent.
//
// Canaries are asked of the instance's own store, so that a probe costs the
// upstream nothing. Only a canary that a person has named and that the store
// does not have yet is fetched once, in the ordinary way.
package probe
