package modproxy

import (
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/podspec"
)

const (
	agentName = "agent"
	// seenFile is what the agent found sound so far. It lies beside the store, so
	// that a snapshot holds both.
	seenFile = storeMount + "/.gocache-seen.zst"
	// minFree is how much room a store must have: a server that writes in place
	// leaves cut files behind when there is none.
	minFree = "64Mi"
	// checkInterval is between checks of a store without a schedule.
	checkInterval = 24 * time.Hour
)

// bytesPerSecond of a check for which nothing is declared.
var bytesPerSecond = resource.MustParse("16Mi")

// agent watches over the store from beside the server. It begins first, makes
// the store's root, and ends last.
func (r *Reconciler) agent(s *scope, p program, trusted check.Trusted) corev1.Container {
	command := []string{
		"/gocache-agent", "store", "--store", storeDir, "--prepare", "--listen", net.JoinHostPort("", strconv.Itoa(pass.AgentPort)),
		"--min-free", minFree,
	}
	if p.page != "" {
		command = append(command, "--server", p.page)
	}
	if p.layout != "" {
		interval, rate := s.checks()
		command = append(command, "--layout", string(p.layout), "--state", seenFile,
			"--token-file", tokenFile, "--interval", interval.String(), "--bytes-per-second", strconv.FormatInt(rate.Value(), 10))
		if s.withdraws() {
			command = append(command, "--withdraw")
		}
		command = append(command, trusted.Flags...)
	}
	mounts := append([]corev1.VolumeMount{{Name: "store", MountPath: storeMount}, {Name: "tmp", MountPath: "/tmp"}}, trusted.Mounts...)
	if p.layout != "" {
		mounts = append(mounts, corev1.VolumeMount{Name: tokenKey, MountPath: tokenDir, ReadOnly: true})
	}
	started := ask(httpGet("/healthz", pass.AgentPort), 1, 60)
	return corev1.Container{
		Name: agentName, Image: r.Images.Operator, Command: command,
		RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		Ports:         []corev1.ContainerPort{{Name: agentName, ContainerPort: pass.AgentPort}},
		StartupProbe:  started, ReadinessProbe: ask(httpGet(probe.ReadyPath, pass.AgentPort), 2, 2), LivenessProbe: ask(httpGet("/healthz", pass.AgentPort), 10, 6),
		// A check decompresses the largest file of a module in memory: 500 MiB.
		Resources:       podspec.Helper("1", "2Gi"),
		SecurityContext: podspec.Restricted(), VolumeMounts: mounts,
	}
}

// withdraws says whether what a check finds wrong is removed: where it can be
// fetched anew, and where a person does not want to be told alone.
func (s *scope) withdraws() bool {
	return !pass.Offline(s.proxy) && s.proxy.Spec.Integrity.OnCorrupt != v1alpha1.StoreReport
}

// checks says how often the agent checks by itself, and how fast. With a
// schedule it is told when.
func (s *scope) checks() (interval time.Duration, rate resource.Quantity) {
	interval, rate = checkInterval, bytesPerSecond
	spec := s.proxy.Spec.Integrity
	if spec.Schedule.Schedule != "" {
		interval = 0
	}
	if spec.BytesPerSecond != nil {
		rate = *spec.BytesPerSecond
	}
	return interval, rate
}
