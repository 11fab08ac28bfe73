package pass

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// InstancePort is the port of an instance's Service.
	InstancePort = 8080
	// AgentPort of the agent beside the store, in the same pod as the server's own.
	AgentPort = 9103
	// MetricsPort of a server of type Goproxy has its metrics and no module. Its
	// scrapers do not reach the port that serves modules, where nothing checks the
	// credentials of clients.
	MetricsPort = 9104
	// MaxText is the bound of the schema for a message, in bytes.
	MaxText = 1024
)

// Labels of the objects that belong to an instance.
func Labels(p *v1alpha1.ModProxy, instance string) map[string]string {
	return map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.InstanceLabel: instance}
}

// Instance is a copy of an instance's status; one of the name alone, if there is
// none.
func Instance(p *v1alpha1.ModProxy, name string) v1alpha1.InstanceStatus {
	if status := InstanceStatus(p, name); status != nil {
		return *status
	}
	return v1alpha1.InstanceStatus{Name: name}
}

// InstanceStatus is where an instance is reported into; nil: there is none yet.
func InstanceStatus(p *v1alpha1.ModProxy, name string) *v1alpha1.InstanceStatus {
	for i := range p.Status.Instances {
		if p.Status.Instances[i].Name == name {
			return &p.Status.Instances[i]
		}
	}
	return nil
}

// Quarantined reports whether an instance is quarantined.
func Quarantined(p *v1alpha1.ModProxy, instance string) bool {
	return Instance(p, instance).Quarantined != nil
}

// find is an instance of the spec; nil: there is none of the name.
func find(p *v1alpha1.ModProxy, name string) *v1alpha1.ProxyInstance {
	i := slices.IndexFunc(p.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Spec.Instances[i]
}

// HasStore reports whether the spec has an instance with a store.
func HasStore(p *v1alpha1.ModProxy, instance string) bool {
	i := find(p, instance)
	return i != nil && i.Storage != nil
}

// Storage of an instance; none: the zero value.
func Storage(p *v1alpha1.ModProxy, instance string) v1alpha1.InstanceStorage {
	if i := find(p, instance); i != nil && i.Storage != nil {
		return *i.Storage
	}
	return v1alpha1.InstanceStorage{}
}

// Offline reports whether an empty store could never be filled.
func Offline(p *v1alpha1.ModProxy) bool {
	return p.Spec.Upstream != nil && p.Spec.Upstream.Proxy == "off"
}

// ServerOf is the server of an instance: its own, or the proxy's.
func ServerOf(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) v1alpha1.ProxyServer {
	server := v1alpha1.ProxyServer{}
	switch {
	case instance.Server != nil:
		server = *instance.Server
	case p.Spec.Server != nil:
		server = *p.Spec.Server
	}
	if server.Type == "" {
		server.Type = v1alpha1.ServerGoproxy
	}
	return server
}

// LayoutOf is the layout of an instance's store; empty: there is no store, or
// its layout is unknown, so that it cannot be checked.
func LayoutOf(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) store.Layout {
	if instance.External != nil {
		return ""
	}
	switch ServerOf(p, instance).Type {
	case v1alpha1.ServerAthens:
		return store.Athens
	case v1alpha1.ServerGoproxy:
		return store.Goproxy
	case v1alpha1.ServerCustom:
	}
	return ""
}

// Layout is that of the store of an instance of a name, as LayoutOf.
func Layout(p *v1alpha1.ModProxy, instance string) store.Layout {
	if i := find(p, instance); i != nil {
		return LayoutOf(p, i)
	}
	return ""
}

// Checked reports whether the store of an instance is checked by an agent.
func Checked(p *v1alpha1.ModProxy, instance string) bool { return Layout(p, instance) != "" }

// AgentURL is where the agent beside an instance's store is asked.
func AgentURL(address string) string { return at(address, AgentPort) }

// PagesURL is where a server of type Goproxy is asked for its metrics.
func PagesURL(address string) string { return at(address, MetricsPort) }

// at is the URL of another port of an address.
func at(address string, port int) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// Accepted is the request that waits to be carried out.
func Accepted(p *v1alpha1.ModProxy) (request.Request, bool) {
	return request.Accepted(p.Status.Request)
}

// RequestedTime is a time that is not before the request was taken up: a status
// has whole seconds.
func RequestedTime(p *v1alpha1.ModProxy) time.Time {
	return p.Status.Request.Time.Add(time.Second)
}

// Evidence is what a person needs of a verdict.
func Evidence(v *integrity.Verdict) string {
	text := v.Message
	for _, e := range v.Examples {
		if e.Severity != "note" {
			return fmt.Sprintf("%s; such as %s: %s", text, e.Path, e.Detail)
		}
	}
	if len(v.WithdrawnExamples) > 0 {
		e := v.WithdrawnExamples[0]
		text = fmt.Sprintf("%s; such as %s: %s: %s", text, e.Path, e.Class.Meaning(), e.Detail)
	}
	return text
}

// Invalid is an error of the spec, which only a person can correct.
func Invalid(format string, args ...any) error {
	return &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: fmt.Sprintf(format, args...)}
}
