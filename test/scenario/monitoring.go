package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const (
	// MonitoringNamespace is where Prometheus runs.
	MonitoringNamespace = "gocache-test-monitoring"
	// PrometheusPath is that of its API on the API server.
	PrometheusPath = "/api/v1/namespaces/" + MonitoringNamespace + "/pods/http:" + prometheusName + ":9090/proxy"
	// prometheusName is that of its objects.
	prometheusName = "prometheus"
	// scraperRole is the role that the Prometheus operator's users give to a server.
	scraperRole = "gocache-test-prometheus"
	// readerRole is the operator's role for scrapers of the manager.
	readerRole = "gocache-metrics-reader"
	// brisk is how often Prometheus scrapes and evaluates, and how long an alert that
	// waits at all is pending.
	brisk = "3s"
	// localPrometheus is the image on a Local cluster, of the Prometheus that
	// hack/monitoring names; publicPrometheus is the image of that release.
	localPrometheus  = "gocache.dev/prometheus:test"
	publicPrometheus = "docker.io/prom/prometheus:v3.16.0"
)

// Prometheus is a server in the cluster that scrapes the operator and its pods as
// config/prometheus has the Prometheus operator configure it, and evaluates the alerts.
type Prometheus struct {
	c *Cluster
}

// Sample is the value of one series.
type Sample struct {
	Labels map[string]string
	Value  string
}

// StartPrometheus starts the server with the rights that docs/install.md gives it, and
// waits until it answers. It scrapes and evaluates every three seconds, and an alert that
// has to last is pending no longer than that.
func (c *Cluster) StartPrometheus(ctx context.Context) (*Prometheus, error) {
	image := publicPrometheus
	if c.Kind == Local {
		c.n.Print("Building Prometheus, which takes minutes the first time")
		if err := c.make(ctx, "prometheus-image", "PROMETHEUS_IMAGE="+localPrometheus); err != nil {
			return nil, err
		}
		if err := c.Load(ctx, filepath.Join(Root(), "dist", "prometheus.tar")); err != nil {
			return nil, err
		}
		image = localPrometheus
	}
	configuration, err := prometheusFiles()
	if err != nil {
		return nil, err
	}
	// The label that NetworkPolicies of the operator admit.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: MonitoringNamespace, Labels: map[string]string{"metrics": "enabled"}}}
	if err := c.replace(ctx, namespace); err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	owner := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: namespace.Name, UID: namespace.UID}}
	meta := metav1.ObjectMeta{Namespace: MonitoringNamespace, Name: prometheusName}
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: scraperRole, OwnerReferences: owner}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "services"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"get", "list", "watch"}},
		}},
		binding(owner, scraperRole, scraperRole), binding(owner, scraperRole+"-metrics", readerRole),
		&corev1.ConfigMap{ObjectMeta: meta, Data: configuration},
		prometheusPod(meta, image),
	} {
		if err := c.replace(ctx, o); err != nil {
			return nil, fmt.Errorf("start Prometheus: %w", err)
		}
	}
	p := &Prometheus{c: c}
	return p, Until(ctx, 2*time.Minute, "Prometheus to answer", func(ctx context.Context) (bool, string, error) {
		_, err := p.get(ctx, "/-/ready", nil)
		return err == nil, fmt.Sprint(err), nil
	})
}

// replace creates an object, in the place of one that an earlier run has left.
func (c *Cluster) replace(ctx context.Context, o client.Object) error {
	err := c.Client.Create(ctx, o)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	old := o.DeepCopyObject().(client.Object)
	if err := c.Client.Delete(ctx, old); client.IgnoreNotFound(err) != nil {
		return err
	}
	err = Until(ctx, 3*time.Minute, fmt.Sprintf("%T %s to be gone", o, o.GetName()), func(ctx context.Context) (bool, string, error) {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), old)
		return apierrors.IsNotFound(err), "it exists", client.IgnoreNotFound(err)
	})
	if err != nil {
		return err
	}
	return c.Client.Create(ctx, o)
}

// binding gives a role to the server's account. It goes with the namespace.
func binding(owner []metav1.OwnerReference, name, role string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owner},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: MonitoringNamespace, Name: prometheusName}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
}

func prometheusPod(meta metav1.ObjectMeta, image string) *corev1.Pod {
	const files, data = "/etc/gocache", "/data"
	return &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
		ServiceAccountName: prometheusName,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{
			{Name: "files", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: prometheusName}}}},
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
		Containers: []corev1.Container{{
			Name: "prometheus", Image: image,
			Args:         []string{"--config.file=" + files + "/prometheus.yml", "--storage.tsdb.path=" + data},
			Ports:        []corev1.ContainerPort{{Name: "web", ContainerPort: 9090}},
			VolumeMounts: []corev1.VolumeMount{{Name: "files", MountPath: files}, {Name: "data", MountPath: data}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/-/ready", Port: intstr.FromString("web")},
			}},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}}
}

// prometheusFiles are the configuration that the Prometheus operator makes of
// config/prometheus, which a test of hack/monitoring writes, and the alerts, both brisk.
func prometheusFiles() (map[string]string, error) {
	configuration, err := edit(filepath.Join(Root(), "hack", "monitoring", "testdata", "prometheus.yml"), func(c map[string]any) {
		c["global"] = map[string]any{"scrape_interval": brisk, "scrape_timeout": brisk, "evaluation_interval": brisk}
		c["rule_files"] = []string{"rules.yml"}
	})
	if err != nil {
		return nil, err
	}
	alerts, err := edit(filepath.Join(Root(), "config", "prometheus", "alerts.yaml"), func(o map[string]any) {
		spec, _ := o["spec"].(map[string]any)
		groups, _ := spec["groups"].([]any)
		for _, g := range groups {
			rules, _ := g.(map[string]any)["rules"].([]any)
			for _, r := range rules {
				if rule, _ := r.(map[string]any); rule["for"] != nil {
					rule["for"] = brisk
				}
			}
		}
		clear(o)
		o["groups"] = groups
	})
	// Variables that the Prometheus operator's sidecar replaces: there is one server, and
	// without its number it would drop all targets.
	configuration = strings.NewReplacer("$(SHARD)", "0", "$(POD_NAME)", prometheusName).Replace(configuration)
	return map[string]string{"prometheus.yml": configuration, "rules.yml": alerts}, err
}

// edit changes the object of a file of YAML.
func edit(file string, change func(map[string]any)) (string, error) {
	data, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return "", err
	}
	var o map[string]any
	if err := yaml.Unmarshal(data, &o); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	change(o)
	data, err = yaml.Marshal(o)
	return string(data), err
}

// get requests a page, through the API server.
func (p *Prometheus) get(ctx context.Context, path string, parameters map[string]string) ([]byte, error) {
	return p.c.Set.CoreV1().Pods(MonitoringNamespace).ProxyGet("http", prometheusName, "9090", path, parameters).DoRaw(ctx)
}

// data reads an answer of the API.
func (p *Prometheus) data(ctx context.Context, path string, parameters map[string]string, into any) error {
	body, err := p.get(ctx, path, parameters)
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	// The body of an error states the cause.
	if parsed := json.Unmarshal(body, &answer); parsed != nil || answer.Status != "success" {
		return errors.Join(fmt.Errorf("prometheus %s %v: %s %s", path, parameters, answer.Status, answer.Error), err)
	}
	return json.Unmarshal(answer.Data, into)
}

// Query evaluates an expression now.
func (p *Prometheus) Query(ctx context.Context, expression string) ([]Sample, error) {
	var result struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.data(ctx, "/api/v1/query", map[string]string{"query": expression}, &result); err != nil {
		return nil, err
	}
	var samples []Sample
	for _, r := range result.Result {
		samples = append(samples, Sample{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return samples, nil
}

// Fired reports whether an alert has fired since the server runs, for objects with all
// of the labels.
func (p *Prometheus) Fired(ctx context.Context, alert string, labels map[string]string) (bool, error) {
	selectors := []string{fmt.Sprintf("alertname=%q", alert), `alertstate="firing"`}
	for name, value := range labels {
		selectors = append(selectors, fmt.Sprintf("%s=%q", name, value))
	}
	slices.Sort(selectors)
	samples, err := p.Query(ctx, "max_over_time(ALERTS{"+strings.Join(selectors, ",")+"}[2h])")
	return len(samples) > 0, err
}

// Target is something that is scraped.
type Target struct {
	// Job is the monitor that names it, as serviceMonitor/NAMESPACE/NAME/ENDPOINT.
	Job        string `json:"scrapePool"`
	Labels     map[string]string
	Health     string
	LastError  string
	ScrapeURL  string
	LastScrape time.Time
}

// Targets are all targets that monitors select now.
func (p *Prometheus) Targets(ctx context.Context) ([]Target, error) {
	var all struct{ ActiveTargets []Target }
	err := p.data(ctx, "/api/v1/targets", map[string]string{"state": "active"}, &all)
	return all.ActiveTargets, err
}

// RuleErrors are the errors of the last evaluation of each alert, and the number of
// alerts that were evaluated.
func (p *Prometheus) RuleErrors(ctx context.Context) (failed []string, evaluated int, err error) {
	var all struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	err = p.data(ctx, "/api/v1/rules", nil, &all)
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			switch r.Health {
			case "ok":
				evaluated++
			case "err":
				failed = append(failed, r.Name+": "+r.LastError)
			}
		}
	}
	return failed, evaluated, err
}
