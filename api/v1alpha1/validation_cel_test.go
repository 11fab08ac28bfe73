package v1alpha1_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// object parses YAML and puts it into a namespace.
func object(t *testing.T, namespace, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
		t.Fatalf("parse the test's own YAML: %v\n%s", err, text)
	}
	u.SetAPIVersion("cache.gocache.dev/v1alpha1")
	u.SetNamespace(namespace)
	return u
}

// TestCreate holds each rule of the schema from both sides: what is in order
// is accepted, what is not is refused with the words a person needs.
func TestCreate(t *testing.T) {
	ns := server.Namespace(t)
	const (
		cache    = "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi}"
		shared   = "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {source: {namespace: caches, name: ci}"
		snapshot = "kind: CacheSnapshot\nmetadata: {name: %NAME%}\nspec: {"
		proxy    = "kind: ModProxy\nmetadata: {name: %NAME%}\nspec: {"
		request  = "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: GoCache, name: ci}, "
		toProxy  = "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: ModProxy, name: p}, "
		blue     = "instances: [{name: blue, storage: {size: 1Gi}}]"
	)
	tests := []struct {
		name, text string
		refused    string // part of the message; empty: accepted
	}{
		{"the smallest cache", cache + "}", ""},
		{"a proxy with credentials", cache + ", environment: {proxy: 'https://a.example.com|https://u:p@b.example.com'}}", "proxyRef"},
		{"a proxy with a user", cache + ", environment: {proxy: 'http://u@b.example.com,direct'}}", "must not contain credentials"},
		{"a proxy with an @ in its path", cache + ", environment: {proxy: 'https://a.example.com/@scope,direct'}}", ""},
		{"a checksum database with credentials", cache + ", environment: {checksumDatabase: 'sum.example.com+aa+bb https://u:p@b.example.com'}}", "must not contain credentials"},
		{"a checksum database", cache + ", environment: {checksumDatabase: 'sum.example.com+aa+b/b= https://b.example.com/sum'}}", ""},
		{"trust in a checksum database with credentials", cache + ", snapshots: {verification: {trust: {checksumDatabase: 'sum.example.com+aa+bb https://u:p@b.example.com'}}}}", "must not contain credentials"},
		{"a webhook with credentials", cache + ", cleanup: {maxAge: 1h, webhook: {url: 'https://u:p@b.example.com/hook'}}}", "must not contain credentials"},
		{"an upstream with credentials", proxy + blue + ", upstream: {proxy: 'https://u:p@b.example.com,direct'}}", "privateModules.secretRef"},
		{"upstreams", proxy + blue + ", upstream: {proxy: 'https://a.example.com/go, http://[::1]:8080|file:///modules,direct'}}", ""},
		{"an upstream and a separator at the end", proxy + blue + ", upstream: {proxy: ' https://a.example.com, '}}", ""},
		{"a directory as upstream", proxy + blue + ", upstream: {proxy: 'file://localhost/modules'}}", ""},
		{"no upstream", proxy + blue + ", upstream: {proxy: 'off'}}", ""},
		{"an upstream without a directory", proxy + blue + ", upstream: {proxy: 'file:x'}}", "spec.upstream.proxy: Invalid value: \"file:x\": proxy must list URLs, https://HOST, http://HOST or file:///DIRECTORY"},
		{"an upstream with a directory of a host", proxy + blue + ", upstream: {proxy: 'https://a.example.com,file://b.example.com/x'}}", "proxy must list URLs"},
		{"an upstream without a scheme", proxy + blue + ", upstream: {proxy: a.example.com}}", "proxy must list URLs"},
		{"an upstream without a host", proxy + blue + ", upstream: {proxy: 'https://:443/go'}}", "proxy must list URLs"},
		{"an upstream with another scheme", proxy + blue + ", upstream: {proxy: 'https://a.example.com|ftp://b.example.com'}}", "proxy must list URLs"},
		{"upstreams separated by spaces", proxy + blue + ", upstream: {proxy: 'https://a.example.com https://b.example.com'}}", "proxy must list URLs"},
		{"an upstream of separators", proxy + blue + ", upstream: {proxy: ','}}", "proxy must list URLs"},
		{"version control as upstream", proxy + blue + ", upstream: {proxy: direct}}", "instances of server.type Goproxy fetch nothing directly"},
		{"version control as upstream before others", proxy + blue + ", upstream: {proxy: 'direct,https://a.example.com'}}", "instances of server.type Goproxy fetch nothing directly"},
		{"version control as upstream of Athens", proxy + blue + ", server: {type: Athens}, upstream: {proxy: direct}}", ""},
		{"version control as upstream of one instance of two", proxy + "instances: [{name: a, storage: {size: 1Gi}}, {name: b, storage: {size: 1Gi}, server: {type: Goproxy}}], server: {type: Athens}, upstream: {proxy: direct}}", "instances of server.type Goproxy fetch nothing directly"},
		{"version control as upstream of no instance", proxy + "instances: [{name: a, external: {url: 'https://a.example.com'}}], upstream: {proxy: direct}}", ""},
		{"a proxy's checksum database with credentials", proxy + blue + ", checksumDatabase: 'sum.example.com+aa+bb https://u:p@b.example.com'}", "must not contain credentials"},
		{"an external instance with credentials", proxy + "instances: [{name: a, external: {url: 'https://u:p@b.example.com'}}]}", "must not contain credentials"},
		{"a policy", proxy + blue + ", policy: {minimumAge: 168h, minimumAgeExempt: [corp.example.com], deny: [{name: cve-1, modules: [example.com/m], versions: [v1.2.3, '>=v1.3.0 <v1.4.0', '<v0.9', v0.0.0-20260101000000-0123456789ab], reason: CVE-1}], allow: [{name: ours, modules: ['*.example.com']}]}}", ""},
		{"a policy for Athens", proxy + blue + ", server: {type: Athens}, policy: {minimumAge: 168h}}", "policy requires that all instances are of server.type Goproxy"},
		{"a policy for Athens, but not for this instance", proxy + "instances: [{name: blue, storage: {size: 1Gi}, server: {type: Goproxy}}], server: {type: Athens}, policy: {minimumAge: 168h}}", ""},
		{"a policy for an instance of another type", proxy + "instances: [{name: blue, storage: {size: 1Gi}, server: {type: Custom, image: a, port: 8081}}], policy: {minimumAge: 168h}}", "policy requires"},
		{"a policy for an external instance", proxy + "instances: [{name: a, external: {url: 'https://b.example.com'}}], policy: {minimumAge: 168h}}", "an external one"},
		{"an age in days", proxy + blue + ", policy: {minimumAge: 7d}}", "must be a duration such as 72h or 168h"},
		{"a rule without modules", proxy + blue + ", policy: {deny: [{name: a, modules: []}]}}", "modules"},
		{"a version that is none", proxy + blue + ", policy: {deny: [{name: a, modules: [a.example], versions: [1.2.3]}]}}", "versions[0]"},
		{"a range with blanks", proxy + blue + ", policy: {deny: [{name: a, modules: [a.example], versions: ['> v1.2.3']}]}}", "versions[0]"},
		{"a part of a version without a comparison", proxy + blue + ", policy: {deny: [{name: a, modules: [a.example], versions: [v1]}]}}", "versions[0]"},
		{"advisories", proxy + blue + ", policy: {advisories: [{configMapRef: {name: a}}, {configMapRef: {name: b}}]}}", ""},
		{"advisories from nowhere", proxy + blue + ", policy: {advisories: [{}]}}", "spec.policy.advisories[0].configMapRef"},
		{"advisories of nine ConfigMaps", proxy + blue + ", policy: {advisories: [" + strings.Repeat("{configMapRef: {name: a}}, ", 9) + "]}}", "spec.policy.advisories"},
		{"two rules with one name", proxy + blue + ", policy: {deny: [{name: a, modules: [a.example]}, {name: a, modules: [b.example]}]}}", "Duplicate"},
		{"a fallback", cache + ", environment: {proxyRef: {name: p}, fallback: 'https://mirror.example.com/go'}}", ""},
		{"a direct fallback", cache + ", environment: {proxyRef: {name: p}, fallback: Direct}}", ""},
		{"a fallback without a ModProxy", cache + ", environment: {proxy: 'https://a.example.com', fallback: Direct}}", "fallback requires proxyRef"},
		{"no fallback without a ModProxy", cache + ", environment: {proxy: 'https://a.example.com', fallback: None}}", ""},
		{"two fallbacks", cache + ", environment: {proxyRef: {name: p}, fallback: 'https://a.example.com,direct'}}", "fallback"},
		{"a fallback with credentials", cache + ", environment: {proxyRef: {name: p}, fallback: 'https://u:p@a.example.com'}}", "fallback"},
		{"the mount path of temporary files", cache + ", environment: {mountPath: /tmp}}", "must not be at or below /tmp"},
		{"a mount path below that of temporary files", cache + ", environment: {mountPath: /tmp/build}}", "must not be at or below /tmp"},
		{"the mount path of a Job's tools", cache + ", environment: {mountPath: /tools}}", "must not be at or below /tmp, /tools"},
		{"a mount path below a Job's sources", cache + ", environment: {mountPath: /sources/0}}", "must not be at or below /tmp, /tools"},
		{"the mount path of an offline build's program", cache + ", environment: {mountPath: /program}}", "must not be at or below /tmp, /tools"},
		{"a mount path over the toolchain", cache + ", environment: {mountPath: /usr/local/go}}", "must not hide a directory of the system"},
		{"a mount path over the system", cache + ", environment: {mountPath: /etc}}", "must not hide a directory of the system"},
		{"a mount path that leads elsewhere", cache + ", environment: {mountPath: /gocache/../tmp}}", "the elements . and .."},
		{"mount paths that only resemble others", cache + ", environment: {mountPath: /tmp-cache}}", ""},
		{"a mount path below a home directory", cache + ", environment: {mountPath: /home/ci/.cache/go}}", ""},
		{"a mount path beside the toolchain", cache + ", environment: {mountPath: /usr/local/gocache}}", ""},
		{"a name of 40 characters", strings.Replace(cache, "%NAME%", strings.Repeat("a", 40), 1) + "}", ""},
		{"a name of 41 characters", strings.Replace(cache, "%NAME%", strings.Repeat("a", 41), 1) + "}", "at most 40 characters"},
		{"a name that begins with a digit", strings.Replace(cache, "%NAME%", "1ci", 1) + "}", "beginning with a letter"},
		{"a version that is no Go release", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: latest}, storage: {size: 1Gi}}", "spec.toolchain.version"},
		{"a release candidate", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.27rc1}, storage: {size: 1Gi}}", ""},
		{"no size", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {}}", "spec.storage.size"},
		{"size zero", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 0}}", "size must be greater than 0"},
		{"size negative", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: -1Gi}}", "size must be greater than 0"},
		{"a class without a name", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi, storageClassName: ''}}", "spec.storage.storageClassName"},
		{"a class of a store without a name", proxy + "instances: [{name: a, storage: {size: 1Gi, storageClassName: ''}}]}", "storage.storageClassName"},
		{"a class of snapshots without a name", cache + ", snapshots: {volumeSnapshotClassName: ''}}", "spec.snapshots.volumeSnapshotClassName"},
		{"a class of a snapshot without a name", snapshot + "sourceRef: {kind: GoCache, name: ci}, volumeSnapshotClassName: ''}", "spec.volumeSnapshotClassName"},
		{"growth up to the size", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi, growth: {step: 1Gi, limit: 1Gi}}}", ""},
		{"growth below the size", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 2Gi, growth: {step: 1Gi, limit: 1Gi}}}", "growth.limit must not be less than size"},
		{"growth in steps of nothing", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi, growth: {step: 0, limit: 1Gi}}}", "step must be greater than 0"},
		{"a size with another suffix", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 10GB}}", "spec.storage.size: Invalid value: \"10GB\": must be a quantity such as 20Gi or 500Mi"},
		{"a size in bytes", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1000000000}}", ""},
		{"a size of a store with another suffix", proxy + "instances: [{name: a, storage: {size: 10 Gi}}]}", "must be a quantity such as 20Gi or 500Mi"},
		{"growth by another suffix", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi, growth: {step: 1GB, limit: 1Gi}}}", "must be a quantity such as 20Gi or 500Mi"},
		{"a bound with another suffix", cache + ", cleanup: {maxSize: 10gb}}", "must be a quantity such as 20Gi or 500Mi"},
		{"a deadline in words", cache + ", warmUp: {deadline: 1 hour}}", "spec.warmUp.deadline: Invalid value: \"1 hour\": must be a duration such as 90s or 1h30m, from 1s to 168h"},
		{"a deadline without a unit", cache + ", warmUp: {deadline: '90'}}", "must be a duration such as 90s or 1h30m, from 1s to 168h"},
		{"a deadline that is too long", cache + ", warmUp: {deadline: 169h}}", "must be a duration such as 90s or 1h30m, from 1s to 168h"},
		{"a deadline of hours and minutes", cache + ", warmUp: {deadline: 1h30m}}", ""},
		{"a schedule in words", cache + ", warmUp: {schedule: every now and then}}", "must be a cron expression of five fields"},
		{"a schedule of six fields", cache + ", warmUp: {schedule: '0 30 2 * * *'}}", "must be a cron expression of five fields"},
		{"a schedule with an hour 24", cache + ", integrity: {schedule: '0 24 * * *'}}", "must be a cron expression of five fields"},
		{"a schedule with a month 13", cache + ", snapshots: {schedule: '0 0 1 13 *'}}", "must be a cron expression of five fields"},
		{"a schedule @every without a unit", cache + ", warmUp: {schedule: '@every 5'}}", "must be a cron expression of five fields"},
		{"a schedule", cache + ", warmUp: {schedule: '*/15 1-5,22 * jan-mar MON-FRI'}}", ""},
		{"a schedule of one word", cache + ", warmUp: {schedule: '@daily'}}", ""},
		{"a schedule of pauses", cache + ", warmUp: {schedule: '@every 1h30m'}}", ""},
		{"a platform that Go does not have", cache + ", platform: linux/amd46}", "supported values: \"linux/386\", \"linux/amd64\""},
		{"a platform", cache + ", platform: linux/arm64}", ""},
		{"a platform that is none", cache + ", platform: arm64}", "spec.platform"},
		{"ownership left to the platform", strings.Replace(cache, "size: 1Gi", "size: 1Gi, ownership: null", 1) + "}", ""},
		{"ownership root", strings.Replace(cache, "size: 1Gi", "size: 1Gi, ownership: {runAsUser: 0}", 1) + "}", "runAsUser"},
		{"proxyRef", cache + ", environment: {proxyRef: {name: p}}}", ""},
		{"proxy", cache + ", environment: {proxy: 'http://p|off'}}", ""},
		{"proxyRef and proxy", cache + ", environment: {proxyRef: {name: p}, proxy: 'http://p'}}", "set proxyRef or proxy, not both"},
		{"a relative mount path", cache + ", environment: {mountPath: cache}}", "mountPath"},
		{"a private pattern with a comma", cache + ", environment: {privateModules: {patterns: ['a,b']}}}", "privateModules.patterns"},
		{"a label of pods", cache + ", podTemplate: {labels: {team: a, app.kubernetes.io/part-of: b}, annotations: {example.com/a: b}}}", ""},
		{"a label that makes a pod a proxy's endpoint", cache + ", podTemplate: {labels: {cache.gocache.dev/proxy: goproxy}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"a label that a router's Service selects", cache + ", podTemplate: {labels: {app.kubernetes.io/instance: goproxy}}}", "are set by the operator"},
		{"an annotation of the operator", cache + ", podTemplate: {annotations: {cache.gocache.dev/a: b}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"the longest label of pods", cache + ", podTemplate: {labels: {team: " + strings.Repeat("a", 63) + "}, nodeSelector: {pool: ''}}}", ""},
		{"a label of pods that is too long", cache + ", podTemplate: {labels: {team: " + strings.Repeat("a", 64) + "}}}", "spec.podTemplate.labels: Invalid value: keys of up to 317 characters, values of up to 63"},
		{"a label of nodes that is too long", cache + ", podTemplate: {nodeSelector: {pool: " + strings.Repeat("a", 64) + "}}}", "values of up to 63"},
		{"a label with a long key", cache + ", podTemplate: {labels: {" + strings.Repeat("a", 318) + ": b}}}", "keys of up to 317 characters"},
		{"an affinity to a label that is too long", cache + ", podTemplate: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {team: " + strings.Repeat("a", 64) + "}}}]}}}}", "values of up to 63"},
		{"an annotation of pods", cache + ", podTemplate: {annotations: {example.com/a: '{\"a\": \"" + strings.Repeat("ä", 8000) + "\"}'}}}", ""},
		{"an annotation of pods that is too long", cache + ", podTemplate: {annotations: {a: " + strings.Repeat("a", 8193) + "}}}", "values of up to 8192"},
		{"a label of the router's Service that is too long", proxy + blue + ", router: {service: {labels: {team: " + strings.Repeat("a", 64) + "}}}}", "values of up to 63"},
		{"an annotation of the router's Service that is too long", proxy + blue + ", router: {service: {annotations: {a: " + strings.Repeat("a", 8193) + "}}}}", "values of up to 8192"},
		{"a reserved label on a snapshot's pods", snapshot + "sourceRef: {kind: GoCache, name: ci}, podTemplate: {labels: {cache.gocache.dev/cache: x}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"a reserved label on a proxy's pods", proxy + blue + ", podTemplate: {labels: {cache.gocache.dev/instance: blue}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"an account, spreading and helpers", cache + ", podTemplate: {serviceAccountName: builder, helperResources: {limits: {cpu: 1}}, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, minDomains: 2, labelSelector: {matchExpressions: [{key: a, operator: Exists}]}}, {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}}", ""},
		{"an account that is no name", cache + ", podTemplate: {serviceAccountName: a/b}}", "serviceAccountName"},
		{"no skew", cache + ", podTemplate: {topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}}", "maxSkew"},
		{"two constraints of one topology", cache + ", podTemplate: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}}", "Duplicate value"},
		{"domains that nothing enforces", cache + ", podTemplate: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}]}}", "minDomains requires whenUnsatisfiable DoNotSchedule"},
		{"an operator that is none of a selector's", cache + ", podTemplate: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}]}}", "matchExpressions need an operator"},
		{"templates of instances and router", proxy + blue + ", podTemplate: {serviceAccountName: a}, instanceTemplate: {serviceAccountName: b}, router: {podTemplate: {priorityClassName: high}}}", ""},
		{"an account of the router", proxy + blue + ", router: {podTemplate: {serviceAccountName: admin}}}", "serviceAccountName must not be set for the router"},
		{"a reserved label on a router's pods", proxy + blue + ", router: {podTemplate: {labels: {app.kubernetes.io/instance: other}}}}", "are set by the operator"},
		{"a reserved label on instances", proxy + blue + ", instanceTemplate: {labels: {cache.gocache.dev/instance: green}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"a variable from a Secret", proxy + blue + ", server: {env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: token}}}]}}", ""},
		{"a variable from two places", proxy + blue + ", server: {env: [{name: TOKEN, value: a, valueFrom: {secretKeyRef: {name: s, key: token}}}]}}", "set value or valueFrom, not both"},
		{"a variable from a Secret without a key", proxy + blue + ", server: {env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: s}}}]}}", "secretKeyRef.key"},
		{"a variable from nowhere", proxy + blue + ", server: {env: [{name: TOKEN, valueFrom: {}}]}}", "secretKeyRef"},
		{"a load balancer", proxy + blue + ", router: {service: {type: LoadBalancer, port: 8443, labels: {team: a}, annotations: {example.com/internal: 'true'}, loadBalancerClass: example.com/internal, loadBalancerSourceRanges: [10.0.0.0/8, 'fd00::/8']}}}", ""},
		{"a class without a load balancer", proxy + blue + ", router: {service: {loadBalancerClass: example.com/internal}}}", "require type LoadBalancer"},
		{"ranges without a load balancer", proxy + blue + ", router: {service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}}}", "require type LoadBalancer"},
		{"a range that is an address", proxy + blue + ", router: {service: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1]}}}", "loadBalancerSourceRanges"},
		{"a class that is no label", proxy + blue + ", router: {service: {type: LoadBalancer, loadBalancerClass: 'a b'}}}", "loadBalancerClass"},
		{"a port of the router's Service", proxy + blue + ", router: {service: {port: 65536}}}", "port"},
		{"a reserved annotation of the router's Service", proxy + blue + ", router: {service: {annotations: {cache.gocache.dev/intent: '{}'}}}}", "the prefix cache.gocache.dev/ is reserved"},
		{"a reserved label of the router's Service", proxy + blue + ", router: {service: {labels: {cache.gocache.dev/proxy: other}}}}", "are reserved for the operator"},
		{"a source from a ConfigMap", cache + ", warmUp: {sources: [{configMapRef: {name: m}}]}}", ""},
		{"a source from git", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a'}}]}}", ""},
		{"a source from git over ssh", cache + ", warmUp: {sources: [{git: {url: 'ssh://git@git.example.com:2222/a', ref: release/1.2, secretRef: {name: s}}}]}}", ""},
		{"a source from git over ssh without keys", cache + ", warmUp: {sources: [{git: {url: 'ssh://git@git.example.com/a'}}]}}", "an ssh url requires a secretRef"},
		{"a source from git with a password in its address", cache + ", warmUp: {sources: [{git: {url: 'https://me:secret@git.example.com/a'}}]}}", "url must not contain credentials"},
		{"a source from git with a password for ssh", cache + ", warmUp: {sources: [{git: {url: 'ssh://me:secret@git.example.com/a', secretRef: {name: s}}}]}}", "url must not contain credentials"},
		{"a source from git with credentials", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', secretRef: {name: s}}}]}}", ""},
		{"a source from git with submodules and a sparse checkout", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', submodules: true, directories: [services/billing], sparseCheckout: [services/billing, libs/log]}}]}}", ""},
		{"a sparse checkout below a directory", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', directories: [services], sparseCheckout: [services/billing]}}]}}", ""},
		{"a sparse checkout above a directory", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', directories: [services/billing/cmd], sparseCheckout: [services]}}]}}", ""},
		{"a sparse checkout without the directory", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', directories: [services/billing], sparseCheckout: [services/bill]}}]}}", "each of directories must be one of sparseCheckout"},
		{"a sparse checkout of nothing", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', sparseCheckout: []}}]}}", "at least 1"},
		{"a sparse checkout of the directory above", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', sparseCheckout: [a/../..]}}]}}", "relative to the top of the repository"},
		{"a sparse checkout with a slash at the end", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', sparseCheckout: [a/]}}]}}", "without a '/' at its end"},
		{"a source from git with an authority", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', trustedCA: {configMapRef: {name: c}}}}]}}", ""},
		{"a source from git with credentials and an authority", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', secretRef: {name: s}, trustedCA: {configMapRef: {name: c}}}}]}}", "an authority decides which server gets the credentials"},
		{"a source from git with credentials over http", cache + ", warmUp: {sources: [{git: {url: 'http://git.example.com/a', secretRef: {name: s}}}]}}", "credentials are not sent over http"},
		{"a source from git with an authority for http", cache + ", warmUp: {sources: [{git: {url: 'http://git.example.com/a', trustedCA: {configMapRef: {name: c}}}}]}}", "trustedCA requires an https url"},
		{"a source from git at a path with @", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a@b'}}]}}", ""},
		{"a source from a file", cache + ", warmUp: {sources: [{git: {url: 'file:///etc'}}]}}", "git.url"},
		{"a ref that is a flag", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', ref: '--all'}}]}}", "git.ref"},
		{"a ref with a refspec", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', ref: 'a:b'}}]}}", "git.ref"},
		{"a source from nowhere", cache + ", warmUp: {sources: [{}]}}", "exactly one of configMapRef and git"},
		{"a source from both", cache + ", warmUp: {sources: [{configMapRef: {name: m}, git: {url: 'https://git.example.com/a'}}]}}", "exactly one of configMapRef and git"},
		{"sources without the layer", cache + ", layers: [Build], warmUp: {sources: [{configMapRef: {name: m}}]}}", "warmUp.sources requires layer Modules"},
		{"a package that is a flag", cache + ", warmUp: {sources: [{configMapRef: {name: m}, packages: ['-toolexec=sh']}]}}", "packages"},
		{"builds as CI has them", cache + ", warmUp: {sources: [{name: app, scope: All, git: {url: 'https://git.example.com/a', directories: [services/a, tools]}, builds: [{name: race, flags: [-race, '-tags=a,b', '-ldflags=-s -w -X main.version=v1', '-gcflags=all=-N -l'], env: [{name: CGO_ENABLED, value: '1'}, {name: GOFLAGS, value: '-trimpath -cover'}], vet: false, tests: None, packages: [./cmd/...]}, {name: arm}]}]}}", ""},
		{"a flag that names a program", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, flags: ['-toolexec=sh']}]}]}}", "flags are those that choose what is compiled"},
		{"a linker that is a program", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, flags: ['-ldflags=-extld=/bin/sh']}]}]}}", "builds[0].flags[0] in body should match"},
		{"two flags in one item", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, flags: ['-race -trimpath']}]}]}}", "flags are those that choose what is compiled"},
		{"a flag in GOFLAGS that names a program", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, env: [{name: GOFLAGS, value: '-race -toolexec=sh'}]}]}]}}", "GOFLAGS holds only flags"},
		{"a variable that is none of a build", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, env: [{name: GOPROXY, value: direct}]}]}]}}", "env[0].name"},
		{"cgo by a word", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, env: [{name: CGO_ENABLED, value: 'yes'}]}]}]}}", "CGO_ENABLED must be"},
		{"another workspace", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, env: [{name: GOWORK, value: /tmp/go.work}]}]}]}}", "GOWORK must be off"},
		{"tests that run", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a, tests: Run}]}]}}", "tests"},
		{"two builds of one name", cache + ", warmUp: {sources: [{configMapRef: {name: m}, builds: [{name: a}, {name: a}]}]}}", "Duplicate value"},
		{"two sources of one name", cache + ", warmUp: {sources: [{name: a, configMapRef: {name: m}}, {name: a, configMapRef: {name: other}}]}}", "two sources have the same name"},
		{"a directory outside of the repository", cache + ", warmUp: {sources: [{git: {url: 'https://git.example.com/a', directories: [a/../../b]}}]}}", "without '..'"},
		{"cleanup by size", cache + ", cleanup: {maxSize: 1Gi}}", ""},
		{"cleanup by nothing", cache + ", cleanup: {}}", "set maxSize, maxAge or both"},
		{"snapshots that are verified", cache + ", snapshots: {verification: {mode: Required}}}", ""},
		{"a cache's snapshots that are not verified", cache + ", snapshots: {verification: {mode: Skip}}}", "Skip is for a single CacheSnapshot"},
		{"a proxy's snapshots that are not verified", proxy + blue + ", snapshots: {verification: {mode: Skip}}}", "Skip is for a single CacheSnapshot"},
		{"one snapshot that is not verified", snapshot + "sourceRef: {kind: GoCache, name: ci}, verification: {mode: Skip}}", ""},
		{"a hold-down above its bound", proxy + blue + ", failover: {failback: {holdDown: 2h, maxHoldDown: 1h}}}", "maxHoldDown must not be less than holdDown"},
		{"a hold-down at its bound", proxy + blue + ", failover: {failback: {holdDown: 1h, maxHoldDown: 1h}}}", ""},
		{"retention of none", cache + ", snapshots: {retention: {keepLast: 0}}}", "keepLast"},

		{"a cache shared with namespaces", cache + ", consumers: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: builds}, matchExpressions: [{key: team, operator: In, values: [a, b]}]}}}", ""},
		{"a cache shared with all namespaces", cache + ", consumers: {namespaceSelector: {}}}", ""},
		{"a pool", cache + ", pool: {size: 1}}", ""},
		{"a pool with all its fields", cache + ", pool: {size: 16, maxAge: 24h, storage: {storageClassName: fast, size: 20Gi, accessModes: [ReadWriteOnce]}}}", ""},
		{"a pool without a size", cache + ", pool: {}}", "spec.pool.size: Required"},
		{"a pool of none", cache + ", pool: {size: 0}}", "greater than or equal to 1"},
		{"a pool without bounds", cache + ", pool: {size: 17}}", "less than or equal to 16"},
		{"a pool whose volumes do not last", cache + ", pool: {size: 1, maxAge: 5m}}", "from 1h to 8760h"},
		{"a pool of volumes without size", cache + ", pool: {size: 1, storage: {size: 0}}}", "size must be greater than 0"},
		{"a pool of volumes that no build writes to", cache + ", pool: {size: 1, storage: {accessModes: [ReadOnlyMany]}}}", "Unsupported value"},
		{"a pool of a shared cache", shared + ", pool: {size: 1}}", "set these on the source"},
		{"a cache shared with no selector", cache + ", consumers: {}}", "spec.consumers.namespaceSelector"},
		{"a cache shared by an expression that selects nothing", cache + ", consumers: {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}}", "an operator of In and NotIn"},
		{"a cache shared from another", shared + "}", ""},
		{"a cache shared from another, with a proxy", shared + ", environment: {proxyRef: {name: p}, isolation: Strict}}", ""},
		{"a cache shared from another, suspended", shared + ", suspend: true}", ""},
		{"neither a source nor storage", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}}", "set toolchain and storage, or source alone"},
		{"neither a source nor a toolchain", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {storage: {size: 1Gi}}", "set toolchain and storage, or source alone"},
		{"a source and storage", shared + ", storage: {size: 1Gi}}", "source takes the place of toolchain"},
		{"a source and a toolchain", shared + ", toolchain: {version: 1.26.8}}", "source takes the place of toolchain"},
		{"a source and a platform", shared + ", platform: linux/amd64}", "source takes the place of toolchain"},
		{"a source and a warm-up", shared + ", warmUp: {}}", "source takes the place of toolchain"},
		{"a source and checks", shared + ", integrity: {schedule: '@daily'}}", "source takes the place of toolchain"},
		{"a source and a cleanup", shared + ", cleanup: {maxAge: 1h}}", "source takes the place of toolchain"},
		{"a source and a restore", shared + ", restore: {snapshotRef: {name: s}}}", "source takes the place of toolchain"},
		{"a source and a pod template", shared + ", podTemplate: {nodeSelector: {a: b}}}", "source takes the place of toolchain"},
		{"a source that is shared on", shared + ", consumers: {namespaceSelector: {}}}", "source takes the place of toolchain"},
		{"a source and layers", shared + ", layers: [Build]}", "layers and environment.mountPath are those of the source"},
		{"a source and a mount path", shared + ", environment: {mountPath: /c}}", "layers and environment.mountPath are those of the source"},
		{"a source and snapshots by schedule", shared + ", snapshots: {schedule: '@daily'}}", "snapshots are those of the source"},
		{"a source and trust", shared + ", snapshots: {afterWarmUp: true, verification: {trust: {firstSeen: true}}}}", "snapshots are those of the source"},
		{"a source without a namespace", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {source: {name: ci}}", "spec.source.namespace"},
		{"a source in a namespace that is none", "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {source: {namespace: a/b, name: ci}}", "spec.source.namespace"},

		{"the smallest snapshot", snapshot + "sourceRef: {kind: GoCache, name: ci}}", ""},
		{"a snapshot of a proxy's instance", snapshot + "sourceRef: {kind: ModProxy, name: p, instance: blue}}", ""},
		{"an offline build test on a cache", snapshot + "sourceRef: {kind: GoCache, name: ci}, verification: {offlineBuild: {configMapRef: {name: p}}}}", ""},
		{"an offline build test on a store", snapshot + "sourceRef: {kind: ModProxy, name: p, instance: blue}, verification: {offlineBuild: {configMapRef: {name: p}}}}", "no build runs on a proxy's store"},
		{"a snapshot of a whole proxy", snapshot + "sourceRef: {kind: ModProxy, name: p}}", "instance is required with kind ModProxy"},
		{"a snapshot of a cache's instance", snapshot + "sourceRef: {kind: GoCache, name: p, instance: blue}}", "instance is required with kind ModProxy"},
		{"a snapshot of a Secret", snapshot + "sourceRef: {kind: Secret, name: p}}", "sourceRef.kind"},

		{"the smallest proxy", proxy + blue + "}", ""},
		{"no instance", proxy + "instances: []}", "spec.instances"},
		// An empty list of what is selected, allowed or built could be read as none or
		// as all: a template that renders no entry must not choose either.
		{"nothing allowed", proxy + blue + ", policy: {allow: []}}", "spec.policy.allow"},
		{"a rule of no version", proxy + blue + ", policy: {deny: [{name: a, modules: [a.example], versions: []}]}}", "versions"},
		{"no range of a load balancer", proxy + blue + ", router: {service: {type: LoadBalancer, loadBalancerSourceRanges: []}}}", "loadBalancerSourceRanges"},
		{"no reference module", proxy + blue + ", probes: {referenceModules: []}}", "spec.probes.referenceModules"},
		{"no layer to check", cache + ", integrity: {checks: []}}", "spec.integrity.checks"},
		{"no package of a source", cache + ", warmUp: {sources: [{git: {url: 'https://g.example.com/a'}, packages: []}]}}", "packages"},
		{"no build of a source", cache + ", warmUp: {sources: [{git: {url: 'https://g.example.com/a'}, builds: []}]}}", "builds"},
		{"no package of a build", cache + ", warmUp: {sources: [{git: {url: 'https://g.example.com/a'}, builds: [{name: a, packages: []}]}]}}", "packages"},
		{"no directory of a repository", cache + ", warmUp: {sources: [{git: {url: 'https://g.example.com/a', directories: []}}]}}", "directories"},
		{"nothing denied, nothing exempt", proxy + blue + ", policy: {deny: [], advisories: [], minimumAgeExempt: []}}", ""},
		{"two instances of one name", proxy + "instances: [{name: a, storage: {size: 1Gi}}, {name: a, storage: {size: 1Gi}}]}", "Duplicate value"},
		{"an instance name of 16 characters", proxy + "instances: [{name: aaaaaaaaaaaaaaaa, storage: {size: 1Gi}}]}", "name"},
		{"an instance of the router's name", proxy + "instances: [{name: router, storage: {size: 1Gi}}]}", "router's own objects"},
		{"an instance of the name of the router's weights", proxy + "instances: [{name: router-weights, storage: {size: 1Gi}}]}", "router's own objects"},
		{"instances whose names only resemble the router's", proxy + "instances: [{name: routers, storage: {size: 1Gi}}, {name: a-router, storage: {size: 1Gi}}]}", ""},
		{"a store of nothing", proxy + "instances: [{name: a, storage: {size: 0}}]}", "size must be greater than 0"},
		{"an external instance", proxy + "instances: [{name: a, external: {url: 'https://proxy.example.com'}}]}", ""},
		{"an external instance below a path", proxy + "instances: [{name: a, external: {url: 'https://proxy.example.com:8443/go/proxy/'}}]}", ""},
		{"an external instance by address", proxy + "instances: [{name: a, external: {url: 'http://10.0.0.1:3000'}}]}", ""},
		{"an external instance by address with https", proxy + "instances: [{name: a, external: {url: 'https://10.0.0.1:3000/x'}}]}", "with https the host must be a name"},
		{"an external instance with credentials", proxy + "instances: [{name: a, external: {url: 'https://me:secret@example.com'}}]}", "should match"},
		{"an external instance with a query", proxy + "instances: [{name: a, external: {url: 'https://example.com/?a=b'}}]}", "should match"},
		{"an instance that is neither", proxy + "instances: [{name: a}]}", "set exactly one of storage"},
		{"an instance that is both", proxy + "instances: [{name: a, storage: {size: 1Gi}, external: {url: 'https://proxy.example.com'}}]}", "set exactly one of storage"},
		{"an external instance with a server", proxy + "instances: [{name: a, external: {url: 'https://proxy.example.com'}, server: {type: Athens}}]}", "server must not be set for an external instance"},
		{"only standbys", proxy + "instances: [{name: a, role: Standby, storage: {size: 1Gi}}]}", "at least one instance must have role Active"},
		{"a custom server", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Custom, image: i, port: 8080}}]}", ""},
		{"a custom server without its port", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Custom, image: i}}]}", "type Custom requires image and port"},
		{"a custom server on the agent's port", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Custom, image: i, port: 9103}}]}", "the port of the agent"},
		{"a custom server on the port for metrics", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Custom, image: i, port: 9104}}]}", "the port for metrics"},
		{"Athens", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Athens}}]}", ""},
		{"a port of a server that has its own", proxy + "instances: [{name: a, storage: {size: 1Gi}, server: {type: Goproxy, port: 8080}}]}", "port must not be set with type Goproxy"},
		{"snapshots of stores", proxy + blue + ", snapshots: {schedule: '@daily'}, integrity: {onCorrupt: Rollback}}", ""},
		{"snapshots of stores after a warm-up", proxy + blue + ", snapshots: {afterWarmUp: true}}", "afterWarmUp must not be set for a proxy"},
		{"a bounded check", proxy + blue + ", integrity: {schedule: '@daily', bytesPerSecond: 8Mi}}", ""},
		{"a check that reads nothing", proxy + blue + ", integrity: {bytesPerSecond: 0}}", "bytesPerSecond must be greater than 0"},
		{"a store compared with go.sum files", proxy + blue + ", integrity: {trust: {goSumRefs: [{name: sums}]}}}", ""},
		{"a store compared with what was first seen", proxy + blue + ", integrity: {trust: {firstSeen: true}}}", "set it in snapshots.verification.trust"},
		{"manual", proxy + blue + ", failover: {mode: Manual, activeInstance: blue}}", ""},
		{"manual without saying who", proxy + blue + ", failover: {mode: Manual}}", "activeInstance is required with mode Manual"},
		{"automatic and saying who", proxy + blue + ", failover: {activeInstance: blue}}", "activeInstance is required with mode Manual"},
		{"manual with a stranger", proxy + blue + ", failover: {mode: Manual, activeInstance: red}}", "must name one of the instances"},
		{"steps that do not end with 100", proxy + blue + ", failover: {failback: {steps: [10, 50]}}}", "end with 100"},
		{"a step of nothing", proxy + blue + ", failover: {failback: {steps: [0, 100]}}}", "percentages from 1 to 100"},
		{"steps", proxy + blue + ", failover: {failback: {steps: [25, 100]}}}", ""},
		{"a gateway", proxy + blue + ", router: {type: Gateway, gateway: {parentRef: {name: g}, hostnames: [go.example.com]}}}", ""},
		{"a gateway router without a gateway", proxy + blue + ", router: {type: Gateway}}", "type Gateway requires gateway"},
		{"a gateway without a gateway router", proxy + blue + ", router: {gateway: {parentRef: {name: g}, hostnames: [go.example.com]}}}", "a type other than Gateway"},
		{"a certificate", proxy + blue + ", router: {tls: {secretRef: {name: s}}}}", ""},
		{"clients that authenticate", proxy + blue + ", router: {tls: {secretRef: {name: s}}, clientAuth: {secretRef: {name: c}}}}", ""},
		{"clients that authenticate without TLS", proxy + blue + ", router: {clientAuth: {secretRef: {name: c}}}}", "clientAuth requires tls"},
		{"clients that authenticate to a Service", proxy + blue + ", router: {type: Service, clientAuth: {secretRef: {name: c}}}}", "clientAuth requires type HAProxy"},
		{"responses that are not verified", proxy + blue + ", router: {responseVerification: Disabled}}", ""},
		{"a response verification of no kind", proxy + blue + ", router: {responseVerification: Guessed}}", "Unsupported value"},
		{"a load balancer", proxy + blue + ", router: {service: {type: LoadBalancer}}}", ""},
		{"a Service of no kind", proxy + blue + ", router: {service: {type: ExternalName}}}", "Unsupported value"},
		{"a proxy's private pattern with a comma", proxy + blue + ", privateModules: {patterns: ['a,b']}}", "privateModules.patterns"},
		{"version control", proxy + blue + ", privateModules: {patterns: [git.example.com/team], versionControl: {}}}", ""},
		{"version control with all", proxy + blue + ", privateModules: {patterns: ['*.corp.example'], secretRef: {name: u}, versionControl: {secretRef: {name: s}, image: 'golang:1', resources: {limits: {cpu: '4'}}, cacheSize: 20Gi}}}", ""},
		{"version control with an authority", proxy + blue + ", privateModules: {patterns: [a], versionControl: {trustedCA: {configMapRef: {name: c}}}}}", ""},
		{"version control with credentials and an authority", proxy + blue + ", privateModules: {patterns: [a], versionControl: {secretRef: {name: s}, trustedCA: {configMapRef: {name: c}}}}}", "an authority decides which server gets the credentials"},
		{"version control without patterns", proxy + blue + ", privateModules: {versionControl: {}}}", "versionControl requires patterns"},
		{"version control with no pattern", proxy + blue + ", privateModules: {patterns: [], versionControl: {}}}", "versionControl requires patterns"},
		{"version control with Athens", proxy + blue + ", server: {type: Athens}, privateModules: {patterns: [a], versionControl: {}}}", "versionControl requires that all instances are of server.type Goproxy"},
		{"version control with one Custom server", proxy + "instances: [{name: blue, storage: {size: 1Gi}}, {name: green, storage: {size: 1Gi}, server: {type: Custom, image: i, port: 8080}}], privateModules: {patterns: [a], versionControl: {}}}", "versionControl requires that all instances are of server.type Goproxy"},
		{"version control with an external instance", proxy + "instances: [{name: blue, storage: {size: 1Gi}}, {name: green, external: {url: 'https://proxy.example.com'}}], privateModules: {patterns: [a], versionControl: {}}}", "versionControl requires that all instances are of server.type Goproxy"},
		{"version control with Goproxy in place of Athens", proxy + "instances: [{name: blue, storage: {size: 1Gi}, server: {}}], server: {type: Athens}, privateModules: {patterns: [a], versionControl: {}}}", ""},
		{"version control with little disk", proxy + blue + ", privateModules: {patterns: [a], versionControl: {cacheSize: 100Mi}}}", "at least 256Mi"},
		{"version control with disk of no size", proxy + blue + ", privateModules: {patterns: [a], versionControl: {cacheSize: lots}}}", "must be a quantity"},
		{"a certificate without HAProxy", proxy + blue + ", router: {type: Service, tls: {secretRef: {name: s}}}}", "tls requires type HAProxy"},
		{"clients of some namespaces", proxy + blue + ", router: {from: [{namespaceSelector: {matchLabels: {team: a}}}, {podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {ipBlock: {cidr: 'fd00::/8'}}]}}", ""},
		{"no clients", proxy + blue + ", router: {from: []}}", ""},
		{"a client that is nothing", proxy + blue + ", router: {from: [{}]}}", "or ipBlock alone"},
		{"a client that is an address and a pod", proxy + blue + ", router: {from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}}", "or ipBlock alone"},
		{"a client by an operator of nodes", proxy + blue + ", router: {from: [{podSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}]}}", "an operator of In and NotIn"},
		{"a client by no value", proxy + blue + ", router: {from: [{namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}}", "an operator of In and NotIn"},
		{"an address in place of a block", proxy + blue + ", router: {from: [{ipBlock: {cidr: 10.0.0.1}}]}}", "should match"},
		{"no network policies", proxy + blue + ", networkPolicy: None}", ""},
		{"network policies of no kind", proxy + blue + ", networkPolicy: Strict}", "Unsupported value"},
		{"a Service", proxy + blue + ", router: {type: Service}}", ""},
		{"an external instance behind a Service", proxy + "instances: [{name: a, storage: {size: 1Gi}}, {name: b, external: {url: 'https://a.example.com'}}], router: {type: Service}}", "requires router.type HAProxy"},
		{"a reference module", proxy + blue + ", probes: {referenceModules: [{module: example.com/a, version: v1.0.0, sum: 'h1:jTTU3gOBlnoy9SckBpAdYAEbSHUNHbYvK1iElVh4RbA='}]}}", ""},
		{"a reference module whose sum is none", proxy + blue + ", probes: {referenceModules: [{module: example.com/a, version: v1.0.0, sum: abc}]}}", "sum"},
		{"a reference module at latest", proxy + blue + ", probes: {referenceModules: [{module: example.com/a, version: latest}]}}", "version"},

		{"a warm-up", request + "action: WarmUp}", ""},
		{"a check of a cache", request + "action: CheckIntegrity}", ""},
		{"a cleanup", request + "action: Cleanup}", ""},
		{"a snapshot on request", request + "action: Snapshot}", ""},
		{"a rollback to the newest", request + "action: Rollback}", ""},
		{"a rollback to a snapshot", request + "action: Rollback, argument: ci-20261128}", ""},
		{"a failed build", request + "action: ReportFailure}", ""},
		{"a build", request + "action: ReportBuild, build: {name: billing/test, hits: 213, misses: 0}}", ""},
		{"a build without a name", request + "action: ReportBuild, build: {hits: 0, misses: 7}}", ""},
		{"a build without numbers", request + "action: ReportBuild}", "build is required with ReportBuild"},
		{"a build without misses", request + "action: ReportBuild, build: {hits: 1}}", "build.misses"},
		{"a build with fewer than none", request + "action: ReportBuild, build: {hits: -1, misses: 0}}", "greater than or equal to 0"},
		{"a build with more than can be", request + "action: ReportBuild, build: {hits: 1000000001, misses: 0}}", "less than or equal to 1000000000"},
		{"a build with a name that is none", request + "action: ReportBuild, build: {name: 'a b', hits: 1, misses: 0}}", "should match"},
		{"numbers of a build with another action", request + "action: WarmUp, build: {hits: 1, misses: 0}}", "build is required with ReportBuild"},
		{"a build that is kept for a day", request + "action: ReportBuild, build: {hits: 1, misses: 0}, ttlAfterFinished: 24h}", ""},
		{"a build that is kept for longer", request + "action: ReportBuild, build: {hits: 1, misses: 0}, ttlAfterFinished: 24h0m1s}", "ttlAfterFinished must be at most 24h with ReportBuild"},
		{"a failed build that is kept for a day", request + "action: ReportFailure, ttlAfterFinished: 1440m}", ""},
		{"a failed build that is kept for a year", request + "action: ReportFailure, ttlAfterFinished: 8760h}", "ttlAfterFinished must be at most 24h with ReportBuild and ReportFailure"},
		{"a warm-up that is kept for a year", request + "action: WarmUp, ttlAfterFinished: 8760h}", ""},
		{"a build of a proxy", toProxy + "action: ReportBuild, build: {hits: 1, misses: 0}}", "with a targetRef of kind ModProxy"},
		{"an approval", request + "action: ApproveCleanup, argument: 'sha256:0123abc'}", ""},
		{"an approval of no plan", request + "action: ApproveCleanup}", "argument is required"},
		{"an approval of an empty digest", request + "action: ApproveCleanup, argument: ''}", "at least 1 char"},
		{"an argument that nothing reads", request + "action: WarmUp, argument: now}", "argument must not be set"},
		{"a failed build with an argument", request + "action: ReportFailure, argument: job-1}", "argument must not be set"},
		{"an argument that is a path", request + "action: Rollback, argument: ../x}", "should match"},
		{"an argument of 254 characters", request + "action: Rollback, argument: " + strings.Repeat("a", 254) + "}", "Too long"},
		{"no action", "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: GoCache, name: ci}}", "spec.action"},
		{"an unknown action", request + "action: Destroy}", "Unsupported value"},
		{"a failover of a cache", request + "action: Failover, argument: blue}", "with a targetRef of kind GoCache"},
		{"a failback of a cache", request + "action: Failback}", "with a targetRef of kind GoCache"},
		{"a check of stores", toProxy + "action: CheckIntegrity}", ""},
		{"snapshots of a proxy", toProxy + "action: Snapshot}", ""},
		{"a failover", toProxy + "action: Failover, argument: blue}", ""},
		{"a failover to nowhere", toProxy + "action: Failover}", "argument is required"},
		{"a failback", toProxy + "action: Failback}", ""},
		{"a failback of one instance", toProxy + "action: Failback, argument: blue}", "argument must not be set"},
		{"a reinstatement", toProxy + "action: Reinstate, argument: blue}", ""},
		{"a reinstatement without an instance", toProxy + "action: Reinstate}", "argument is required"},
		{"a warm-up of a proxy", toProxy + "action: WarmUp}", "with a targetRef of kind ModProxy"},
		{"a rollback of a proxy", toProxy + "action: Rollback}", "with a targetRef of kind ModProxy"},
		{"a request to a Secret", "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: Secret, name: ci}, action: WarmUp}", "targetRef.kind"},
		{"a request to a snapshot", "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: CacheSnapshot, name: ci}, action: CheckIntegrity}", "targetRef.kind"},
		{"a request with a name of 64 characters", strings.Replace(request, "%NAME%", strings.Repeat("a", 64), 1) + "action: WarmUp}", "at most 63 characters"},
		{"a request with a name of 63 characters", strings.Replace(request, "%NAME%", strings.Repeat("a", 63), 1) + "action: WarmUp}", ""},
		{"a request to nothing", "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: GoCache}, action: WarmUp}", "targetRef.name"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := object(t, ns, strings.Replace(tt.text, "%NAME%", "test-"+string(rune('a'+i/26))+string(rune('a'+i%26)), 1))
			err := server.Client.Create(t.Context(), u)
			switch {
			case tt.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refused != "" && err == nil:
				t.Error("accepted")
			case tt.refused != "" && !(apierrors.IsInvalid(err) && strings.Contains(err.Error(), tt.refused)):
				t.Errorf("refused with %q, want a message with %q", err, tt.refused)
			}
			if err == nil {
				got, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
				if got != -1 {
					t.Errorf("status.observedGeneration is %d at first, want -1", got)
				}
			}
		})
	}
}

// TestDurations holds the bounds of each duration from both sides: what is
// zero, negative or without end would have the operator run for ever, never,
// or without a pause.
func TestDurations(t *testing.T) {
	ns := server.Namespace(t)
	const (
		cache    = "kind: GoCache\nmetadata: {name: %NAME%}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 1Gi}, "
		snapshot = "kind: CacheSnapshot\nmetadata: {name: %NAME%}\nspec: {sourceRef: {kind: GoCache, name: ci}, "
		proxy    = "kind: ModProxy\nmetadata: {name: %NAME%}\nspec: {instances: [{name: blue, storage: {size: 1Gi}}], "
	)
	tests := []struct {
		field, text             string // %D% is the duration
		least, most             string // accepted
		tooShort, tooLong, what string // refused, with these words
	}{
		{"warmUp.jitter", cache + "warmUp: {jitter: %D%}}", "0s", "24h", "-1s", "24h1s", "from 0s to 24h"},
		{"warmUp.startingDeadline", cache + "warmUp: {startingDeadline: %D%}}", "1s", "8760h", "0s", "8761h", "from 1s to 8760h"},
		{"warmUp.deadline", cache + "warmUp: {deadline: %D%}}", "1s", "168h", "0s", "169h", "from 1s to 168h"},
		{"integrity.deadline", cache + "integrity: {deadline: %D%}}", "1s", "168h", "0s", "169h", "from 1s to 168h"},
		{"cleanup.maxAge", cache + "cleanup: {maxAge: %D%}}", "1m", "87600h", "59s", "87601h", "from 1m to 87600h"},
		{"cleanup.webhook.timeout", cache + "cleanup: {maxAge: 1h, webhook: {url: 'https://example.com', timeout: %D%}}}", "1s", "5m", "0s", "6m", "from 1s to 5m"},
		{"storage.volumeReplacement.keepPrevious", strings.Replace(cache, "size: 1Gi", "size: 1Gi, volumeReplacement: {keepPrevious: %D%}", 1) + "}", "0s", "87600h", "-1h", "87601h", "from 0s to 87600h"},
		{"snapshots.retention.maxAge", cache + "snapshots: {retention: {maxAge: %D%}}}", "1m", "87600h", "0s", "87601h", "from 1m to 87600h"},
		{"snapshots.verification.deadline", cache + "snapshots: {verification: {deadline: %D%}}}", "1s", "168h", "0s", "169h", "from 1s to 168h"},
		{"snapshots.verification.repeat.interval", cache + "snapshots: {verification: {repeat: {interval: %D%}}}}", "1h", "8760h", "59m", "8761h", "from 1h to 8760h"},
		{"verification.deadline", snapshot + "verification: {deadline: %D%}}", "1s", "168h", "-5m", "169h", "from 1s to 168h"},
		{"probes.interval", proxy + "probes: {interval: %D%}}", "1s", "1h", "0s", "61m", "from 1s to 1h"},
		{"probes.timeout", proxy + "probes: {timeout: %D%}}", "100ms", "1m", "0s", "61s", "from 100ms to 1m"},
		{"failback.holdDown", proxy + "failover: {failback: {maxHoldDown: 24h, holdDown: %D%}}}", "0s", "24h", "-1m", "25h", "from 0s to 24h"},
		{"failback.maxHoldDown", proxy + "failover: {failback: {holdDown: 0s, maxHoldDown: %D%}}}", "0s", "168h", "-1m", "169h", "from 0s to 168h"},
		{"failback.stepInterval", proxy + "failover: {failback: {stepInterval: %D%}}}", "1s", "24h", "0s", "25h", "from 1s to 24h"},
		{"ttlAfterFinished", "kind: CacheRequest\nmetadata: {name: %NAME%}\nspec: {targetRef: {kind: GoCache, name: ci}, action: WarmUp, ttlAfterFinished: %D%}", "0s", "8760h", "-1s", "8761h", "from 0s to 8760h"},
	}
	create := func(t *testing.T, name, text, duration string) error {
		t.Helper()
		u := object(t, ns, strings.NewReplacer("%NAME%", name, "%D%", duration).Replace(text))
		return server.Client.Create(t.Context(), u)
	}
	for i, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			name := "d" + string(rune('a'+i))
			for n, duration := range []string{tt.least, tt.most} {
				if err := create(t, name+string(rune('a'+n)), tt.text, duration); err != nil {
					t.Errorf("%s is refused: %v", duration, err)
				}
			}
			for _, duration := range []string{tt.tooShort, tt.tooLong} {
				if err := create(t, name, tt.text, duration); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.what) {
					t.Errorf("%s: got %v, want a refusal with %q", duration, err, tt.what)
				}
			}
			// What is no duration would keep the operator from reading the
			// whole kind.
			if err := create(t, name, tt.text, "7d"); !apierrors.IsInvalid(err) {
				t.Errorf("7d: got %v, want a refusal", err)
			}
		})
	}
}

// TestUpdate holds what is identity and may not change, and what is policy
// and may.
func TestUpdate(t *testing.T) {
	ns := server.Namespace(t)
	const (
		shared   = "kind: GoCache\nmetadata: {name: f}\nspec: {source: {namespace: caches, name: ci}}"
		cache    = "kind: GoCache\nmetadata: {name: c}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 2Gi}}"
		snapshot = "kind: CacheSnapshot\nmetadata: {name: s}\nspec: {sourceRef: {kind: GoCache, name: ci}}"
		request  = "kind: CacheRequest\nmetadata: {name: r}\nspec: {targetRef: {kind: GoCache, name: ci}, action: Rollback}"
		proxy    = "kind: ModProxy\nmetadata: {name: p}\nspec: {instances: [{name: a, storage: {size: 1Gi}}]}"
		balancer = "kind: ModProxy\nmetadata: {name: b}\nspec: {instances: [{name: a, storage: {size: 1Gi}}], router: {service: {type: LoadBalancer, loadBalancerClass: a}}}"
	)
	tests := []struct {
		name, text string
		path       []string
		value      any
		refused    string
	}{
		{"a cache's platform", cache, []string{"spec", "platform"}, "linux/arm64", "platform is immutable"},
		{"a cache's layers", cache, []string{"spec", "layers"}, []any{"Modules"}, "layers is immutable"},
		{"a cache's access modes", cache, []string{"spec", "storage", "accessModes"}, []any{"ReadWriteMany"}, "accessModes is immutable"},
		{"a cache's toolchain", cache, []string{"spec", "toolchain", "version"}, "1.26.9", ""},
		{"a cache's size, lowered", cache, []string{"spec", "storage", "size"}, "1Gi", ""},
		{"a cache's consumers", cache, []string{"spec", "consumers"}, map[string]any{"namespaceSelector": map[string]any{}}, ""},
		{"a cache that becomes shared", cache, []string{"spec"}, map[string]any{"source": map[string]any{"namespace": "a", "name": "b"}}, "does not begin or cease to be shared"},
		{"a shared cache that ceases to be", shared, []string{"spec"}, map[string]any{"toolchain": map[string]any{"version": "1.26.8"}, "storage": map[string]any{"size": "1Gi"}}, "does not begin or cease to be shared"},
		{"a shared cache's source", shared, []string{"spec", "source", "name"}, "other", ""},
		{"a cache's class", cache, []string{"spec", "storage", "storageClassName"}, "fast", ""},
		{"a snapshot's source", snapshot, []string{"spec", "sourceRef", "name"}, "other", "sourceRef is immutable"},
		{"a snapshot's verification", snapshot, []string{"spec", "verification", "mode"}, "Skip", "verification.mode, onCorrupt, trust and offlineBuild are immutable"},
		{"a snapshot's deadline", snapshot, []string{"spec", "verification", "deadline"}, "1h0m0s", ""},
		{"a snapshot's repetition", snapshot, []string{"spec", "verification", "repeat", "snapshots"}, "None", ""},
		{"a snapshot's class", snapshot, []string{"spec", "volumeSnapshotClassName"}, "fast", "volumeSnapshotClassName is immutable"},
		{"a snapshot's deletion policy", snapshot, []string{"spec", "deletionPolicy"}, "Retain", ""},
		{"a snapshot's pin", snapshot, []string{"spec", "pinned"}, true, ""},
		{"a request's action", request, []string{"spec", "action"}, "WarmUp", "spec is immutable"},
		{"a request's target", request, []string{"spec", "targetRef", "name"}, "other", "spec is immutable"},
		{"a request's argument, added", request, []string{"spec", "argument"}, "s", "spec is immutable"},
		{"a request's time to live", request, []string{"spec", "ttlAfterFinished"}, "1h", "spec is immutable"},
		{"a load balancer's class", balancer, []string{"spec", "router", "service", "loadBalancerClass"}, "b", "loadBalancerClass is immutable while type is LoadBalancer"},
		{"a load balancer's class, removed", balancer, []string{"spec", "router", "service"}, map[string]any{"type": "LoadBalancer"}, "loadBalancerClass is immutable while type is LoadBalancer"},
		{"a load balancer's ranges and port", balancer, []string{"spec", "router", "service"}, map[string]any{"type": "LoadBalancer", "loadBalancerClass": "a", "port": int64(81), "loadBalancerSourceRanges": []any{"10.0.0.0/8"}}, ""},
		{"a load balancer's type", balancer, []string{"spec", "router", "service"}, map[string]any{"type": "ClusterIP"}, ""},
		{"a Service that becomes a load balancer", proxy, []string{"spec", "router", "service"}, map[string]any{"type": "LoadBalancer", "loadBalancerClass": "a"}, ""},
		{"a request's labels", request, []string{"metadata", "labels"}, map[string]any{"a": "b"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := object(t, ns, tt.text)
			if err := server.Client.Create(t.Context(), u); err != nil {
				t.Fatalf("create: %v", err)
			}
			defer func() {
				if err := server.Client.Delete(t.Context(), u); err != nil {
					t.Errorf("delete: %v", err)
				}
			}()
			if err := unstructured.SetNestedField(u.Object, tt.value, tt.path...); err != nil {
				t.Fatal(err)
			}
			err := server.Client.Update(t.Context(), u)
			switch {
			case tt.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refused != "" && err == nil:
				t.Error("accepted")
			case tt.refused != "" && !strings.Contains(err.Error(), tt.refused):
				t.Errorf("refused with %q, want %q", err, tt.refused)
			}
		})
	}
}

// TestOwnershipNull keeps the null that means "the platform assigns ids":
// defaulting must not overwrite it.
func TestOwnershipNull(t *testing.T) {
	u := object(t, server.Namespace(t), "kind: GoCache\nmetadata: {name: c}\nspec: {toolchain: {version: 1.26.8}, storage: {size: 2Gi, ownership: null}}")
	if err := server.Client.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	storage, _, err := unstructured.NestedMap(u.Object, "spec", "storage")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := storage["ownership"]; !ok || v != nil {
		t.Errorf("ownership became %v (present: %v), want null kept", v, ok)
	}
}
