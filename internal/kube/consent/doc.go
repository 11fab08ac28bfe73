// Package consent decides whether a Secret may be used for what an object asks:
// the Secret itself must allow the host that its content is sent to, or the
// image that it is mounted into. Otherwise a user who may create an object, and
// may not read Secrets, could send any Secret of the namespace anywhere.
package consent
