// Package direct is what routers have in common that lead to the instances'
// pods without a program of ours in between.
//
// Such a router is one object. The whole intent stands in an annotation of it,
// written together with what follows from it, so that what is read back can be
// held against what was meant. And clients that keep their connection stay
// where they are, whatever the object specifies: a quarantined server's pods
// are ended. Which ones is noted in another annotation of the same write,
// before anything is deleted, so that dying in between loses none, and the pods
// that take their place, which no client reaches, are left alone.
package direct
