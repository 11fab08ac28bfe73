// Package pass holds what the parts of the ModProxy controller share: what one
// pass has observed, what a part returns, and the questions about a ModProxy
// that more than one part asks.
//
// It decides nothing and writes nothing. A part receives the ModProxy, whose
// status it fills in, and an Observed, which it does not change. What a later
// part must see is in the part's Result, and the controller hands it on.
package pass
