// Package cached bounds what one object costs in the cache of the manager.
//
// Editors of a namespace decide how large objects are, and the cache holds them for all
// namespaces. [Trim] reduces an object that is larger than [MaxBytes] to what lists and
// watches need. [Client] reads such an object from the API server, so that those who
// read one object by its name always get all of it.
package cached
