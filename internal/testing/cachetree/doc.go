// Package cachetree makes real Go caches for tests, by the real go command and
// without a network, and damages them in every way that caches are known to
// break.
//
// The modules are tiny and come from a GOPROXY directory that the package
// writes itself. A good tree takes seconds to make, so it is made once per Go
// release and kept in the user's cache directory; [New] gives each test a copy.
package cachetree
