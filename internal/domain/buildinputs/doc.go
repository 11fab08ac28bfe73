// Package buildinputs compares two ways of building Go packages by the inputs that
// decide which entries of a build cache the go command finds.
//
// The go command computes for each package an action ID, from the release and the
// platform, the flags and variables that change what is compiled, the content of the
// files that these select, and the path of the directory with the package, unless
// -trimpath leaves it out. Modules are below GOMODCACHE, so that a cache at another
// path has no results for them. A difference in one input is a miss for the packages
// that it reaches, and for all that import them.
package buildinputs
