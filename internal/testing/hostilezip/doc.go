// Package hostilezip makes archives that cost their reader more memory than they
// have bytes, for the tests of everything that reads archives of others.
package hostilezip
