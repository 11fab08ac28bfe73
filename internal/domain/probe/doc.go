// Package probe checks whether a GOPROXY instance works: whether it is ready,
// implements the protocol, and serves intact content.
//
// A probe has three outcomes. Unknown means that there is no result, which is
// neither good nor bad: an instance that does not answer has served no corrupt
// content.
//
// A message holds the status of an answer and words of our own, never what the
// instance sent.
//
// Reference modules are requested from the instance's own store, so that a
// probe causes no request to the upstream. Only a reference module that the
// user has named and that the store does not have yet is fetched once, in the
// ordinary way.
package probe
