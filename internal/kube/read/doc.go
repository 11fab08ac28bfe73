// Package read reads single objects, for which not to exist is a fact and no
// error, and lists past every cache, in bounded memory.
package read
