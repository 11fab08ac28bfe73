// Package volumetest writes files of known content to a volume and compares them
// later, on the same volume or on a clone of it: whether a storage class keeps
// what was written through a snapshot.
package volumetest
