package modproxy

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/api/v1alpha1"
)

// logDecision logs what a pass has decided: one line at the default level when
// the decision differs from the one before, else at V(1). It contains no message
// of a probe: those are long, and are in the status.
func logDecision(ctx context.Context, p *progress) {
	if len(p.decision.Desired) == 0 {
		return
	}
	was, is := decided(p.first.Status), decided(p.proxy.Status)
	values := []any{"serving", p.proxy.Status.Serving, "healthy", p.proxy.Status.Healthy, "instances", is, "router", p.proxy.Spec.Router.Type}
	level := 1
	if was != is {
		level, values = 0, append(values, "before", was)
	}
	log.FromContext(ctx).V(level).Info("Decided", values...)
}

// decided is what was decided of each instance, in short.
func decided(status v1alpha1.ModProxyStatus) string {
	var all []string
	for i := range status.Instances {
		all = append(all, decidedOf(&status.Instances[i]))
	}
	return strings.Join(all, " ")
}

func decidedOf(i *v1alpha1.InstanceStatus) string {
	text := fmt.Sprintf("%s=%d", i.Name, i.DesiredWeight)
	switch {
	case i.Quarantined != nil:
		text += "/quarantined:" + i.Quarantined.Reason
	case i.OutOfService:
		text += "/out-of-service"
	case i.Failback != nil:
		text += fmt.Sprintf("/failback-step:%d", i.Failback.Step)
	}
	for _, f := range i.FailingProbes {
		text += "/failing:" + string(f.Kind)
	}
	return text
}
