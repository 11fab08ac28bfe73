// Package untrusted bounds requests to servers that are not trusted: which
// addresses they may reach ([Filter]), and what their errors contain ([Cause]).
//
// Addresses in a spec are chosen by users, while the operator sends the
// requests and writes what went wrong into a status that these users read. An
// error must therefore hold nothing that the server sent: otherwise an address
// that only the operator can reach could be read through a status. Several
// libraries quote answers in their errors, so texts are taken from known kinds
// of errors only.
package untrusted
