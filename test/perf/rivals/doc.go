// Command rivals measures how soon a CI job has its first test result, and what
// that costs, with the caches that a job can begin with:
//
//   - nothing;
//   - an archive of both caches from an object store, by tar and zstd, as
//     actions/cache keeps it;
//   - a GOCACHEPROG child that reads and writes an object store over HTTP, which
//     answers at once, after 5 ms, or after 50 ms;
//   - a directory that all jobs share and write to, as on a ReadWriteMany volume;
//   - a clone of a verified snapshot: the image of a volume is cloned by reference
//     and mounted, as the CSI driver of the local cluster does it;
//   - that snapshot, mounted read-only, with `gocache-agent prog` above it;
//   - a copy of the snapshot that shares nothing with it, made for the job, and one that was
//     made, read and checked in advance, as a volume of a pool is;
//   - a clone, or the snapshot with `gocache-agent prog` above it, whose content is loaded
//     when it is first read, as clouds restore volumes: 20 ms for each 512 KiB, eight at
//     once, through the file that the CSI driver of the local cluster has for it;
//   - such a clone that was read in advance, as a volume of a pool is.
//
// The job is `go test` of one package of this repository, after a push that has
// changed it: the package is compiled, linked and run each time. The caches hold
// what the tests of this package and of a larger one left, about a gibibyte: a cache
// in use has more than one job needs.
//
// Each run begins cold: the file system of all caches is unmounted, its image is
// dropped from the page cache, and what the run gets for itself is empty. The
// toolchain, the sources, and the servers, which stand for other machines, stay in
// memory. The ways take turns, in another order each round.
//
// It needs root, for mounts, and mkfs.xfs. BENCH_ROUNDS sets the rounds of which
// medians are printed, BENCH_ONLY picks ways by their names, apart by semicolons.
// BENCH_LAZY sets how long 512 KiB take to be loaded; these ways need /dev/fuse, too.
// BENCH_DIR keeps the caches and the results of each run there, so that another
// run goes on where an interrupted one was.
package main
