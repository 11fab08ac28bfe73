package instances

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/podspec"
)

const (
	// athensPort is Athens's own default.
	athensPort = 3000
)

// program is how the server of an instance is run.
type program struct {
	container corev1.Container
	port      int32
	// pages is the port of what the server reports to the operator and to scrapers; 0: it
	// reports nothing.
	pages int32
	// layout of its store; empty: unknown, so that it cannot be checked.
	layout store.Layout
	// page that the agent requests to see whether the server is alive; empty: the
	// server reports by itself that its store cannot be used.
	page string
}

// program of an instance that the operator runs.
func (r Reconciler) program(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, given given) (program, error) {
	server := given.server
	switch server.Type {
	case v1alpha1.ServerAthens:
		return r.athens(p, instance, server, given.private)
	case v1alpha1.ServerCustom:
		return custom(server), nil
	case v1alpha1.ServerGoproxy:
	}
	return r.goproxy(p, instance, server, given), nil
}

// serverPort is the port that a server listens on in its pod.
func serverPort(server v1alpha1.ProxyServer) int32 {
	switch server.Type {
	case v1alpha1.ServerAthens:
		return ptr.Deref(server.Port, athensPort)
	case v1alpha1.ServerCustom:
		return ptr.Deref(server.Port, pass.InstancePort)
	case v1alpha1.ServerGoproxy:
	}
	return pass.InstancePort
}

// goproxy is this project's own server. What it reports of itself can be relied
// on.
func (r Reconciler) goproxy(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, server v1alpha1.ProxyServer, given given) program {
	image := r.imageOf(server)
	command := []string{
		"/gocache-proxy", "--store", storeDir, "--listen", fmt.Sprintf(":%d", pass.InstancePort), "--name", instance.Name,
		"--temp-dir", "/tmp", "--shutdown-timeout", fmt.Sprintf("%ds", shutdownSeconds),
	}
	if up := p.Spec.Upstream; up != nil && up.Proxy != "" {
		command = append(command, "--upstream", up.Proxy)
	}
	if p.Spec.Policy != nil {
		command = append(command, "--policy", rulesFile)
	}
	if private := given.private; private.secret != "" {
		command = append(command, "--credentials", privateDir, "--credentials-hosts", private.hosts)
	}
	command = append(command, given.versionControl.flags(p)...)
	env := toolchain(p)
	if others := peers(p, instance); others != "" {
		env[peersVariable], env[quarantinedVariable] = others, peersDir+"/"+quarantinedKey
	}
	env[metricsVariable] = fmt.Sprintf(":%d", pass.MetricsPort)
	env[sizeVariable] = fmt.Sprint(instance.Storage.Size.Value())
	if most := pass.Storage(p, instance.Name).MaxUsedPercent; most != nil {
		env[maxUsedVariable] = fmt.Sprint(*most)
	}
	return program{
		port: pass.InstancePort, pages: pass.MetricsPort, layout: store.Goproxy,
		container: corev1.Container{
			Name: "proxy", Image: image, Command: append(command, server.Args...), Env: environment(env, server),
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: pass.InstancePort}, {Name: metricsName, ContainerPort: pass.MetricsPort}},
			ReadinessProbe: ask(httpGet(probe.ReadyPath, pass.InstancePort), 2, 2),
			LivenessProbe:  ask(httpGet("/healthz", pass.InstancePort), 10, 6),
		},
	}
}

// metricsName is the name of the port of a server's metrics.
const metricsName = "metrics"

// metricsVariable is the address of a server's metrics. It is no flag, so that a
// server.image of an earlier version starts.
const metricsVariable = "GOCACHE_PROXY_METRICS_LISTEN"

// sizeVariable is the size of a store's volume in bytes. It is no flag, so that a
// server.image of an earlier version starts.
const sizeVariable = "GOCACHE_PROXY_VOLUME_SIZE"

// maxUsedVariable is the share of its volume beyond which a server removes archives.
const maxUsedVariable = "GOCACHE_PROXY_MAX_USED_PERCENT"

// toolchain are the variables of the go command for where modules come from.
// Private modules come from the upstream too, and are not in the checksum database.
func toolchain(p *v1alpha1.ModProxy) map[string]string {
	env := map[string]string{"GONOPROXY": "none"}
	if p.Spec.ChecksumDatabase != "" {
		env["GOSUMDB"] = p.Spec.ChecksumDatabase
	}
	if patterns := patterns(p); patterns != "" {
		env["GONOSUMDB"] = patterns
	}
	return env
}

// patterns of private modules, as GOPRIVATE has them.
func patterns(p *v1alpha1.ModProxy) string {
	if p.Spec.PrivateModules == nil {
		return ""
	}
	return strings.Join(p.Spec.PrivateModules.Patterns, ",")
}

// athens runs github.com/gomods/athens from its own image. It reports ready with
// a full disk and without its store, so its readiness is that of the agent beside
// it. It runs the go command, which needs a home and a place for what it fetches.
func (r Reconciler) athens(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, server v1alpha1.ProxyServer, private credentials) (program, error) {
	image := r.imageOf(server)
	if image == "" {
		return program{}, pass.Invalid("spec.instances[%s]: server.type Athens needs server.image: the operator was given no --athens-image", instance.Name)
	}
	env := toolchain(p)
	if up := p.Spec.Upstream; up != nil && up.Proxy != "" {
		env["GOPROXY"] = up.Proxy
	}
	settings := map[string]string{
		"HOME": "/tmp", "TMPDIR": "/tmp",
		"ATHENS_STORAGE_TYPE": "disk", "ATHENS_DISK_STORAGE_ROOT": storeDir,
		// Lists of versions are answered from the store when the upstream is down.
		"ATHENS_NETWORK_MODE": "fallback", "ATHENS_DOWNLOAD_MODE": "sync",
		"ATHENS_SHUTDOWN_TIMEOUT": fmt.Sprint(shutdownSeconds),
	}
	var list []string
	for _, v := range podspec.Env(env) {
		if strings.Contains(v.Value, ";") {
			return program{}, pass.Invalid("spec: Athens cannot be given %s=%q: a semicolon ends a value there", v.Name, v.Value)
		}
		list = append(list, v.Name+"="+v.Value)
	}
	// This replaces its default, GOPROXY=direct.
	settings["ATHENS_GO_BINARY_ENV_VARS"] = strings.Join(list, ";")
	if url := sumDBURL(p.Spec.ChecksumDatabase); url != "" {
		settings["ATHENS_SUM_DBS"] = url
	}
	if patterns := patterns(p); patterns != "" {
		settings["ATHENS_GONOSUM_PATTERNS"] = patterns
	}
	if private.secret != "" {
		settings["ATHENS_NETRC_PATH"] = netrcFile
	}
	port := serverPort(server)
	settings["ATHENS_PORT"] = fmt.Sprintf(":%d", port)
	return program{
		port: port, layout: store.Athens, page: fmt.Sprintf("http://127.0.0.1:%d/healthz", port),
		container: corev1.Container{
			Name: "proxy", Image: image, Args: server.Args, Env: environment(settings, server),
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: port}},
			LivenessProbe: ask(httpGet("/healthz", port), 10, 6),
		},
	}, nil
}

// sumDBURL is the URL of a checksum database in GOSUMDB syntax; empty: unknown.
func sumDBURL(value string) string {
	fields := strings.Fields(value)
	switch {
	case len(fields) == 0 || fields[0] == "off":
		return ""
	case len(fields) > 1:
		return fields[1]
	}
	name, _, _ := strings.Cut(fields[0], "+")
	return "https://" + name
}

// custom is a server of which only the port is known, and that it implements the
// GOPROXY protocol.
func custom(server v1alpha1.ProxyServer) program {
	port := serverPort(server)
	settings := map[string]string{"HOME": "/tmp", "TMPDIR": "/tmp"}
	return program{
		port: port, page: fmt.Sprintf("http://127.0.0.1:%d/", port),
		container: corev1.Container{
			Name: "proxy", Image: server.Image, Args: server.Args, Env: environment(settings, server),
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: port}},
			LivenessProbe: ask(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}}, 10, 6),
		},
	}
}

func httpGet(path string, port int32) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}}
}

func ask(how corev1.ProbeHandler, period, failures int32) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: how, PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5}
}
