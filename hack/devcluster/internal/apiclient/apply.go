package apiclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// fieldManager owns what Apply sets.
const fieldManager = "devcluster"

// resources are the kinds that a cluster starts with. Asking the API server for
// them, as kubectl does, takes longer than everything else in Apply.
var resources = map[string]struct {
	plural     string
	namespaced bool
}{
	"ServiceAccount":           {"serviceaccounts", true},
	"ConfigMap":                {"configmaps", true},
	"Service":                  {"services", true},
	"Deployment":               {"deployments", true},
	"DaemonSet":                {"daemonsets", true},
	"ClusterRole":              {"clusterroles", false},
	"ClusterRoleBinding":       {"clusterrolebindings", false},
	"CSIDriver":                {"csidrivers", false},
	"StorageClass":             {"storageclasses", false},
	"VolumeSnapshotClass":      {"volumesnapshotclasses", false},
	"CustomResourceDefinition": {"customresourcedefinitions", false},
}

// Apply creates or changes objects, given as YAML documents, by server-side apply.
// A kind that the API server does not serve yet is tried again until the timeout.
func (c *Client) Apply(ctx context.Context, timeout time.Duration, documents []byte) error {
	for _, document := range bytes.Split(documents, []byte("\n---")) {
		document = bytes.TrimPrefix(document, []byte("---"))
		path, err := pathOf(document)
		if err != nil {
			return err
		}
		if path == "" {
			continue
		}
		if err := Wait(ctx, timeout, func(ctx context.Context) error { return c.apply(ctx, path, document) }); err != nil {
			return err
		}
	}
	return nil
}

// pathOf returns where an object is on the API server, "" for an empty document.
func pathOf(document []byte) (string, error) {
	var object struct {
		APIVersion string
		Kind       string
		Metadata   struct{ Name, Namespace string }
	}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return "", fmt.Errorf("manifest: %w: %.200s", err, document)
	}
	if object.Kind == "" && object.APIVersion == "" {
		return "", nil
	}
	resource, ok := resources[object.Kind]
	if !ok {
		return "", fmt.Errorf("manifest: kind %q is not in the list of package apiclient", object.Kind)
	}
	path := "/apis/" + object.APIVersion
	if !strings.Contains(object.APIVersion, "/") {
		path = "/api/" + object.APIVersion
	}
	if resource.namespaced {
		path += "/namespaces/" + object.Metadata.Namespace
	}
	return path + "/" + resource.plural + "/" + object.Metadata.Name, nil
}

func (c *Client) apply(ctx context.Context, path string, document []byte) error {
	query := url.Values{"fieldManager": {fieldManager}, "force": {"true"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.server+path+"?"+query.Encode(), bytes.NewReader(document))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/apply-patch+yaml")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode < http.StatusMultipleChoices:
		return nil
	case resp.StatusCode == http.StatusUnprocessableEntity, resp.StatusCode == http.StatusBadRequest:
		return Final(fmt.Errorf("apply %s: %s: %.500s", path, resp.Status, body))
	default: // not served yet, no namespace yet, still busy
		return errors.New("apply " + path + ": " + resp.Status)
	}
}
