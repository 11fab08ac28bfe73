package chart

import (
	"errors"
	"fmt"
	"strings"
)

const image = `{{ include "gocache-operator.image" . | quote }}`

// edit makes an object a template. It returns the values that the whole object
// depends on, separated by spaces, or nothing.
func (t *template) edit(o object) (condition string, err error) {
	t.versionLabel(o.at("metadata"))
	switch o.kind() {
	case "CustomResourceDefinition":
		o.at("metadata", "annotations")["helm.sh/resource-policy"] = t.lines("crds.keep", "helm.sh/resource-policy: keep")
		return "crds.install", nil
	case "NetworkPolicy":
		if o.name() == pushName {
			return "pushWebhooks.enabled networkPolicy.enabled", nil
		}
		return "networkPolicy.enabled", nil
	case "Service":
		if o.name() == pushName {
			return "pushWebhooks.enabled", nil
		}
	case "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
		return "admissionPolicy.enabled", nil
	case "ServiceAccount":
		o.at("metadata")["annotations"] = t.field("annotations", "serviceAccount.annotations")
	case "ServiceMonitor":
		o.at("metadata", "labels")["zz"] = t.entries("serviceMonitor.labels")
		return "serviceMonitor.enabled", nil
	case "PodMonitor":
		o.at("metadata", "labels")["zz"] = t.entries("podMonitors.labels")
		return "podMonitors.enabled", nil
	case "PrometheusRule":
		o.at("metadata", "labels")["zz"] = t.entries("prometheusRule.labels")
		return "prometheusRule.enabled", t.runbooks(o)
	case "Deployment":
		return "", t.deployment(o)
	}
	return "", nil
}

// pushName is the name of the objects of config/push.
const pushName = "gocache-push"

// runbookBase is where config/prometheus/alerts.yaml links its pages.
const runbookBase = "https://gocache.dev/operator/docs/"

// runbooks makes the base of the runbook URLs of alerts a value.
func (t *template) runbooks(o object) error {
	groups, _ := o.at("spec")["groups"].([]any)
	for _, g := range groups {
		group, _ := g.(map[string]any)
		rules, _ := group["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			annotations := object(rule).at("annotations")
			page, ok := strings.CutPrefix(fmt.Sprint(annotations["runbook_url"]), runbookBase)
			if !ok {
				return fmt.Errorf("alert %v: runbook_url does not begin with %s", rule["alert"], runbookBase)
			}
			annotations["runbook_url"] = t.inline("{{ .Values.prometheusRule.runbookBase }}") + page
		}
	}
	return nil
}

const versionLabel = "app.kubernetes.io/version"

func (t *template) versionLabel(metadata map[string]any) {
	if labels, ok := metadata["labels"].(map[string]any); ok && labels[versionLabel] != nil {
		labels[versionLabel] = t.inline("{{ .Chart.AppVersion | quote }}")
	}
}

// deployment gives the manager what values can change in it.
func (t *template) deployment(o object) error {
	o.at("spec")["replicas"] = t.inline("{{ .Values.replicas }}")
	meta := o.at("spec", "template", "metadata")
	t.versionLabel(meta)
	o.at("spec", "template", "metadata", "labels")["zz"] = t.entries("podLabels")
	o.at("spec", "template", "metadata", "annotations")["zz"] = t.entries("podAnnotations")
	pod := o.at("spec", "template", "spec")
	for _, key := range []string{"imagePullSecrets", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"} {
		pod[key] = t.field(key, key)
	}
	pod["priorityClassName"] = t.lines("priorityClassName", "priorityClassName: {{ . | quote }}")
	containers, ok := pod["containers"].([]any)
	if !ok || len(containers) != 1 {
		return fmt.Errorf("the Deployment %s has %d containers: the chart supports one", o.name(), len(containers))
	}
	c := containers[0].(map[string]any) //nolint:forcetypeassert // kustomize has read it as a container
	c["image"] = t.inline(image)
	c["imagePullPolicy"] = t.inline("{{ .Values.image.pullPolicy }}")
	c["resources"] = t.field("resources", "resources")
	args, ok := c["args"].([]any)
	if !ok {
		return fmt.Errorf("the Deployment %s has no args", o.name())
	}
	c["args"] = append(args,
		t.lines("watchNamespaces", `- {{ printf "--watch-namespace=%s" (join "," .) | quote }}`),
		t.lines("pushWebhooks.enabled", "- --push-bind-address=:9445"),
		t.lines("pushWebhooks.certificateSecret", "- --push-cert-dir=/push-certificate"),
		t.entries("extraArgs"))
	if err := t.pushCertificate(pod, c); err != nil {
		return err
	}
	return t.environment(o.name(), c)
}

// pushCertificate mounts the certificate that push webhooks are received with.
func (t *template) pushCertificate(pod, container map[string]any) error {
	mounts, ok := container["volumeMounts"].([]any)
	volumes, has := pod["volumes"].([]any)
	if !ok || !has {
		return errors.New("the manager mounts no volumes: the chart adds one to them")
	}
	container["volumeMounts"] = append(mounts, t.lines("pushWebhooks.certificateSecret",
		"- name: push-certificate", "  mountPath: /push-certificate", "  readOnly: true"))
	pod["volumes"] = append(volumes, t.lines("pushWebhooks.certificateSecret",
		"- name: push-certificate", "  secret:", "    secretName: {{ . | quote }}"))
	return nil
}

// values of the variables that config/manager sets.
var variables = map[string]string{
	"OPERATOR_IMAGE":  image,
	"TOOLCHAIN_IMAGE": "{{ .Values.images.toolchain | quote }}",
	"HAPROXY_IMAGE":   "{{ .Values.images.haproxy | quote }}",
	"GOMEMLIMIT":      "{{ .Values.goMemoryLimit | quote }}",
}

// environment fails when a variable was added that the chart does not handle:
// decide whether it is a value.
func (t *template) environment(name string, c map[string]any) error {
	env, _ := c["env"].([]any)
	var unknown []string
	for _, e := range env {
		v, ok := e.(map[string]any)
		if !ok || variables[fmt.Sprint(v["name"])] == "" {
			unknown = append(unknown, fmt.Sprint(v["name"]))
			continue
		}
		v["value"] = t.inline(variables[fmt.Sprint(v["name"])])
	}
	if len(unknown) > 0 || len(env) != len(variables) {
		return fmt.Errorf("the Deployment %s has %d variables, and the chart no value for [%s]: decide in hack/release/internal/chart what each becomes",
			name, len(env), strings.Join(unknown, " "))
	}
	c["env"] = append(env,
		t.lines("images.athens", "- name: ATHENS_IMAGE", "  value: {{ . | quote }}"),
		t.entries("extraEnv"))
	return nil
}
