// Package faults describes the faults that the CSI driver injects, and when. It is the
// format of one file, which the driver reads at every call, so that a test can
// change the faults at any time:
//
//	{"rules": [
//	  {"operation": "snapshot", "delay": "5s"},
//	  {"operation": "snapshot", "namespace": "ci", "error": "quota exceeded", "code": "ResourceExhausted", "times": 2},
//	  {"operation": "restore", "delay": "30s"}
//	]}
//
// The first rule that matches a call and is not used up decides about it. The
// same effects can be had for one class alone, as parameters of a StorageClass
// or VolumeSnapshotClass: fault/delay, fault/error, fault/code, fault/times,
// fault/notReady, fault/unsynced, fault/lazy, and fault/operation (default: all).
package faults
