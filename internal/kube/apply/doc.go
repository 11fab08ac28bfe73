// Package apply brings objects to a wanted state by server-side apply.
//
// The caller states all that it wants of an object, each time. An apply that
// would change nothing is not sent: the wanted state is compared with the live
// object first, field by field, and by a digest of what was applied last, so
// that a field that is no longer wanted is noticed too. An object of the
// wanted name that somebody else made is never taken over: that is a
// ConflictError, which only a person can resolve.
package apply
