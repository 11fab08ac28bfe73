// Package failing repeats an operation with a client of which one call after the other
// fails, and reports each failure that the operation does not return: an error that is
// dropped makes a caller go on as if the call had succeeded.
package failing
