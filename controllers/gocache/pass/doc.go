// Package pass holds what the parts of the GoCache controller share: what one
// pass has observed, what a part returns, and the questions about a GoCache
// that more than one part asks.
//
// It has no client and writes nothing but the answer to a request. A part
// receives the GoCache, whose status it fills in, and an Observed, which it
// does not change. What a later part must see is in the part's Result, and the
// controller hands it on.
package pass
