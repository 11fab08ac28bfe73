package env

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"gocache.dev/operator/api/v1alpha1"
)

// Columns returns what kubectl get -o wide shows of an object of the operator, by
// the names of the columns. The resource is its plural, such as "gocaches".
func (e *Env) Columns(t *testing.T, resource, namespace, name string) map[string]string {
	t.Helper()
	c, err := rest.HTTPClientFor(e.Config)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("%s/apis/%s/namespaces/%s/%s/%s", strings.TrimSuffix(e.Config.Host, "/"), v1alpha1.GroupVersion, namespace, resource, name)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("GET %s: %s, %d rows, %v: %.500s", url, resp.Status, len(table.Rows), err, body)
	}
	columns := map[string]string{}
	for i, definition := range table.ColumnDefinitions {
		if cell := table.Rows[0].Cells[i]; cell != nil {
			columns[definition.Name] = fmt.Sprint(cell)
		}
	}
	return columns
}
