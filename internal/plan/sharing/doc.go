// Package sharing decides whether a GoCache may use the snapshots of a GoCache in
// another namespace.
//
// The source consents by the labels of the namespace of the consumer, and nothing
// that the consumer's namespace holds can replace that. A source that does not
// exist and one that does not consent give the same answer: otherwise a user could
// find out what other namespaces hold. A chain of sources is refused, so that there
// are no cycles and that the consent is that of the cache whose content it is.
package sharing
