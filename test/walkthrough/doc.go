// Package walkthrough runs the commands of docs/ci/walkthrough.md on a real cluster,
// in their order, as a reader pastes them, and then the pods that the runner scale sets
// of docs/ci/runners/arc.md make: each clones a private monorepo and builds it on its
// clone of the cache. The pods of the other recipes for runners run as well, on
// caches of which one is warmed from the monorepo over ssh.
//
// Of the pages, only the names and sizes that they ask the reader to replace are
// replaced, and the image and command of the runner. It runs on the local cluster
// only: make test-walkthrough.
package walkthrough
