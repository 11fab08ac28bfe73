// Package image writes container images as files, without a registry, a
// daemon, or a Dockerfile, and reads back what such a file holds.
//
// An image is one uncompressed layer in a tar file that is both an OCI image
// layout (index.json, which containerd prefers) and a docker archive
// (manifest.json, which docker load reads):
//
//	blobs/sha256/<layer>    first, streamed in one pass: the name and size in its
//	                        header are filled in afterwards
//	blobs/sha256/<config>
//	blobs/sha256/<manifest>
//	oci-layout
//	index.json
//	manifest.json
//
// Times are zero and owners are numbers, so that the same content makes the
// same digest.
package image
