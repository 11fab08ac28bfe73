// Package egress names the HTTP proxies through which requests leave a cluster, by
// the variables that other programs read as well: HTTP_PROXY, HTTPS_PROXY and
// NO_PROXY.
//
// An administrator sets them. What users choose, such as the URL of a git server, is
// then connected to by the proxy, so that it is the proxy's part to refuse addresses:
// see untrusted.Filter.
package egress
