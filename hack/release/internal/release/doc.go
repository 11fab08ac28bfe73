// Package release makes all files of a release from one work tree, without a
// network:
//
//	gocache-operator_VERSION_linux_ARCH.tar.gz   the operator's programs
//	kubectl-gocache_VERSION_OS_ARCH.*            the plugin of kubectl
//	gocache-operator_VERSION_image.tar           the image for all architectures, as an OCI layout
//	install.yaml, crds.yaml                      config/default with the image by digest; the CRDs alone
//	gocache-operator-VERSION.tgz                 the Helm chart, and the same as an OCI layout: …_chart.tar
//	gocache.yaml                                 the plugin's manifest for krew
//	PROGRAM_VERSION_OS_ARCH.cdx.json             the modules in each program (CycloneDX)
//	provenance.intoto.json                       what all this was built from (SLSA); in an envelope with a signature when a key is given
//	RELEASE_NOTES.md                             the section of CHANGELOG.md
//	SHA256SUMS, SHA256SUMS.sig, release.pub      sums of all other files, their signature, and the key to check it
//
// The files depend on the commit, the Go release and the CA certificates alone:
// built twice, they are identical. Every time in them is that of the commit, and
// Ed25519 signatures have no random part.
package release
