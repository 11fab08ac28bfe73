// Package loopback gives tests addresses of this machine that nothing listens at,
// for programs that get the address as a setting.
//
// A port that the kernel chooses for a listener is free once that is closed, and a
// moment later it may be the local end of any connection on a busy machine. The
// ports of this package are outside of the range that connections use.
//
// Start at [Address], and at [Page] for what a program answers there.
package loopback
