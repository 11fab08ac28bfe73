package instances

import (
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/podspec"
)

const (
	agentName = "agent"
	// seenFile lists what the agent found intact so far. It is beside the store, so
	// that a snapshot holds both.
	seenFile = storeMount + "/.gocache-seen.zst"
	// minFree is the space that a store must have left: without any, a server that
	// writes in place leaves truncated files behind.
	minFree = "64Mi"
	// checkInterval is between checks of a store without a schedule.
	checkInterval = 24 * time.Hour
)

// bytesPerSecond of a check without a rate in the spec.
var bytesPerSecond = resource.MustParse("16Mi")

// agent monitors the store from beside the server. It starts first, creates the
// store's root, and ends last.
func (r Reconciler) agent(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, run program, trusted check.Trusted) corev1.Container {
	command := agentcommand.Store{
		Store: storeDir, Prepare: true, Listen: net.JoinHostPort("", strconv.Itoa(pass.AgentPort)), MinFree: minFree,
		VolumeSize: instance.Storage.Size.Value(), Server: run.page,
	}
	if run.layout != "" {
		interval, rate := checks(p)
		command.Layout, command.State, command.TokenFile = string(run.layout), seenFile, tokenFile
		command.Interval, command.BytesPerSecond = &interval, rate.Value()
		command.Withdraw, command.Trust = withdraws(p), trusted.Trust
	}
	// The store alone is shared with the server, whose image may be any: the agent
	// writes its temporary files there, too.
	mounts := append([]corev1.VolumeMount{{Name: "store", MountPath: storeMount}}, trusted.Mounts...)
	if run.layout != "" {
		mounts = append(mounts, corev1.VolumeMount{Name: tokenKey, MountPath: tokenDir, ReadOnly: true})
	}
	started := ask(httpGet("/healthz", pass.AgentPort), 1, 60)
	return corev1.Container{
		Name: agentName, Image: r.Images.Operator, Command: agentcommand.InImage(command),
		RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		Ports:         []corev1.ContainerPort{{Name: agentName, ContainerPort: pass.AgentPort}},
		StartupProbe:  started, ReadinessProbe: ask(httpGet(probe.ReadyPath, pass.AgentPort), 2, 2), LivenessProbe: ask(httpGet("/healthz", pass.AgentPort), 10, 6),
		// A check decompresses the largest file of a module in memory: 500 MiB.
		Resources:       podspec.Helper(template(p), "1", "2Gi"),
		SecurityContext: podspec.Restricted(), VolumeMounts: mounts,
	}
}

// withdraws reports whether corrupt entries that a check finds are removed: where
// they can be fetched again, and the policy is not only to report them.
func withdraws(p *v1alpha1.ModProxy) bool {
	return !pass.Offline(p) && p.Spec.Integrity.OnCorrupt != v1alpha1.StoreReport
}

// checks is how often the agent checks by itself, and how fast. With a schedule
// the operator requests each check.
func checks(p *v1alpha1.ModProxy) (interval time.Duration, rate resource.Quantity) {
	interval, rate = checkInterval, bytesPerSecond
	spec := p.Spec.Integrity
	if spec.Schedule.Schedule != "" {
		interval = 0
	}
	if spec.BytesPerSecond != nil {
		rate = *spec.BytesPerSecond
	}
	return interval, rate
}
