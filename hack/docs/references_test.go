package main

import (
	"reflect"
	"strings"
	"testing"

	"gocache.dev/operator/api/v1alpha1"
)

// references are the fields of the API that name a Secret or a ConfigMap of a user, by
// the struct that has them, and their rows in docs/security.md.
var references = map[string]string{
	"GitSource.secretRef":           "git.secretRef",
	"GitWebhook.secretRef":          "git.webhook.secretRef",
	"ProxyPrivateModules.secretRef": "privateModules.secretRef",
	"ProxyVersionControl.secretRef": "versionControl.secretRef",
	"EnvVarSource.secretKeyRef":     "server.env[].valueFrom.secretKeyRef",
	"ClientAuth.secretRef":          "router.clientAuth.secretRef",
	"RouterTLS.secretRef":           "router.tls.secretRef",
	"PodTemplate.imagePullSecrets":  "podTemplate.imagePullSecrets",
	"AdvisorySource.configMapRef":   "policy.advisories[].configMapRef",
	"WarmUpSource.configMapRef":     "warmUp.sources[].configMapRef",
	"OfflineBuild.configMapRef":     "verification.offlineBuild.configMapRef",
	"Trust.goSumRefs":               "verification.trust.goSumRefs",
	"TrustedCA.configMapRef":        "trustedCA.configMapRef",
}

// notReferences are those that name other kinds.
var notReferences = map[string]bool{"Restore.snapshotRef": true, "Environment.proxyRef": true}

// TestReferencesAreExplained holds that docs/security.md has a row on each field by
// which a user names a Secret or a ConfigMap, so that a new one is not added without
// the question what its use discloses.
func TestReferencesAreExplained(t *testing.T) {
	page := read(t, "docs/security.md")
	found := map[string]bool{}
	for _, kind := range []any{v1alpha1.GoCache{}, v1alpha1.CacheSnapshot{}, v1alpha1.ModProxy{}, v1alpha1.CacheRequest{}} {
		collect(reflect.TypeOf(kind), map[reflect.Type]bool{}, found)
	}
	for field := range found {
		row, ok := references[field]
		if !ok && !notReferences[field] {
			t.Errorf("%s is not in the list of this test", field)
		}
		if ok && !strings.Contains(page, "`"+row+"`") {
			t.Errorf("docs/security.md has no row on %s", row)
		}
	}
	for field := range references {
		if !found[field] {
			t.Errorf("the API has no field %s", field)
		}
	}
}

// collect adds the fields of a type that are references, as STRUCT.FIELD.
func collect(of reflect.Type, seen map[reflect.Type]bool, found map[string]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || seen[of] || !strings.HasPrefix(of.PkgPath(), "gocache.dev/operator/api") {
		return
	}
	seen[of] = true
	for i := range of.NumField() {
		field := of.Field(i)
		to := field.Type
		for to.Kind() == reflect.Pointer || to.Kind() == reflect.Slice {
			to = to.Elem()
		}
		if to == reflect.TypeOf(v1alpha1.LocalReference{}) || to == reflect.TypeOf(v1alpha1.SecretKeyReference{}) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			found[of.Name()+"."+name] = true
			continue
		}
		collect(field.Type, seen, found)
	}
}
