// Package prerequisites holds the tests of check.sh, which checks what a machine
// needs before anything is compiled, and installs what is missing.
package prerequisites
