// Package reflinkcsi is a CSI driver for tests: real volumes with a real size
// limit, and snapshots and clones that cost no copying, on one node.
//
// A volume is a sparse file with an XFS file system, mounted through a loop
// device; the files lie in a pool, which is XFS too, since that can share extents
// between files. So:
//
//   - a snapshot or clone is one FICLONE ioctl, whatever the volume holds: its
//     time depends on neither the number of files nor their kind, and every
//     attribute, hard link, and device node is kept;
//   - a full volume is full: writes fail with ENOSPC, because the file system in
//     it ends there, and statistics are those of that file system;
//   - a fresh volume belongs to root, as one from a cloud's block storage does.
//
// A snapshot of a mounted volume is taken while its file system is frozen, so
// that it holds all that was written before. Real drivers often do not; the
// fault "unsynced" makes this one not do it either.
//
// What can be made to fail, and how, is in package faults.
package reflinkcsi
