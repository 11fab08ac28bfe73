// Package store watches over a module proxy's store from beside it: how full
// its volume is, and whether what it serves is what it should be, checked in
// the background at low intensity.
//
// What was found sound is remembered in a manifest: it makes the next check
// cheap, and it convicts content that changes under its name even where no
// trust data names it.
package store
