package warm

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gocache.dev/operator/internal/domain/redact"
)

// writeNetrc writes the credentials of a module proxy for the go command into a
// directory. Releases before Go 1.24 look for the host name, later ones for the
// host with its port. No error contains a credential.
func writeNetrc(dir, proxy, credentials string) (string, error) {
	u, err := url.Parse(proxy)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("the proxy %q is no https URL: the go command sends credentials over https only", redact.URL(proxy))
	}
	var values [2]string
	for i, key := range []string{"username", "password"} {
		text, err := os.ReadFile(filepath.Join(credentials, key)) //nolint:gosec // mounted from the Secret
		if err != nil {
			return "", fmt.Errorf("the credentials of the module proxy: %w", err)
		}
		values[i] = string(text)
		if values[i] == "" || len(strings.Fields(values[i])) != 1 || strings.TrimSpace(values[i]) != values[i] {
			return "", errors.New("the credentials of the module proxy: the " + key + " is empty or contains white space, which a netrc file cannot express")
		}
	}
	text := ""
	for _, host := range []string{u.Hostname(), u.Host} {
		text += fmt.Sprintf("machine %s login %s password %s\n", host, values[0], values[1])
	}
	file := filepath.Join(dir, "netrc")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil { //nolint:gosec // in a directory of this process
		return "", fmt.Errorf("write the credentials of the module proxy: %w", err)
	}
	return file, nil
}
