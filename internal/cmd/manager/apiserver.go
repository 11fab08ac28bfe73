package manager

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/read"
)

// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list

// addressesOf returns where the API server can be reached: the address that the
// manager uses, that of its Service, and those behind it. Requests that users
// cause must not reach it from the network of the manager. In an installation
// that may not list the EndpointSlices of namespace default, those behind the
// Service are not known.
func addressesOf(ctx context.Context, host string, live client.Reader) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, name := range []string{hostOf(host), os.Getenv("KUBERNETES_SERVICE_HOST")} {
		if name == "" {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			return nil, fmt.Errorf("look up the address of the API server: %w", err)
		}
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a.Unmap(), 0))
		}
	}
	of := client.MatchingLabels{discoveryv1.LabelServiceName: "kubernetes"}
	for slice, err := range read.All[discoveryv1.EndpointSlice](ctx, live, &discoveryv1.EndpointSliceList{}, client.InNamespace("default"), of) {
		if apierrors.IsForbidden(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list the EndpointSlices of the API server: %w", err)
		}
		for _, endpoint := range slice.Endpoints {
			for _, text := range endpoint.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					for _, port := range slice.Ports {
						if port.Port != nil {
							all = append(all, netip.AddrPortFrom(a, uint16(*port.Port))) //nolint:gosec // a port
						}
					}
				}
			}
		}
	}
	return all, nil
}

// hostOf is the host in the address of a client configuration, which is a URL or
// HOST:PORT.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
