// Package naming derives the names of children from their parent's, and those of the
// sources of a warm-up.
//
// Names that a release has given to objects never change: an operator that derives
// another one after an upgrade loses the objects that exist. It reads no object.
package naming
