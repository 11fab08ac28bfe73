// Package apply brings objects to a desired state by server-side apply.
//
// The caller gives the complete desired state of an object, each time. An apply
// that would change nothing is not sent: the desired state is compared with the
// live object first, field by field, and by a digest of what was applied last,
// so that a field that is no longer desired is noticed too. A foreign object of
// the same name is never taken over: that is a ConflictError, which only a user
// can resolve.
package apply
