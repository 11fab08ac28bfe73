// Package prerequisites is check.sh, which checks what a machine needs before
// anything is compiled, and installs what is missing. The Go files are its tests.
package prerequisites
