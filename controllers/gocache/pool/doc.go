// Package pool keeps volumes ready for the PVCs that name a GoCache: clones of the
// snapshot that consumers get now, each read and checked by a Job. Which of them a PVC
// gets is not its concern: the populator takes them.
package pool
