// Command coredns is CoreDNS with only the plugins that a cluster without a way
// to the outside can use.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() {
	// The order in which the plugins see a query, and with it which directives a Corefile may use.
	dnsserver.Directives = []string{
		"errors", "log", "health", "ready", "cache", "loadbalance", "kubernetes", "forward", "whoami",
	}
	coremain.Run()
}
