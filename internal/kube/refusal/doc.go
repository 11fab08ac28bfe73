// Package refusal reads why the cluster does not create what an object asks for:
// controllers and provisioners report it in events alone, such as that a
// ResourceQuota or a LimitRange forbids a pod.
package refusal
