// Package walkthrough runs the commands of docs/ci/walkthrough.md on a real cluster,
// in their order, as a reader pastes them, and then the pod that the runner scale set
// of docs/ci/runners/arc.md makes: it clones a private monorepo and builds it on its
// clone of the cache. The pods of the other pages of docs/ci/runners run as well, on
// caches of which one is warmed from the monorepo over ssh.
//
// Of the pages, only the names and sizes that they ask the reader to replace are
// replaced, and the image and command of the runner. It runs on the local cluster
// only: make test-walkthrough.
package walkthrough
