// Package podspec builds what all pods of the operator have in common: the
// user's bounded template, the ownership of files, Pod Security "restricted",
// and bounds of what a pod may take of its node.
package podspec
