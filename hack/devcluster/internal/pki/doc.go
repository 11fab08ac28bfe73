// Package pki makes the throw-away certificates, keys, and kubeconfigs of one
// local cluster. They are worth nothing outside of the machine: the CA's key
// lies beside them.
package pki
