// Command probe GETs each URL it is given and prints its status and the start
// of its body; for an https URL it shows the pod's service account token. It
// exits 1 if a URL gave no answer at all. It is in the debugging image because
// the wget of a statically linked busybox cannot resolve names.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"
	timeout        = 10 * time.Second
	shownBytes     = 4 << 10
)

func main() {
	client := newClient()
	code := 0
	for _, url := range os.Args[1:] {
		if err := probe(client, url); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", url, err)
			code = 1
		}
	}
	os.Exit(code)
}

func newClient() *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(serviceAccount + "ca.crt"); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
}

func probe(client *http.Client, url string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token, err := os.ReadFile(serviceAccount + "token"); err == nil && req.URL.Scheme == "https" {
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, shownBytes))
	if err != nil {
		return err
	}
	fmt.Println(url, resp.StatusCode, strings.TrimSpace(string(body)))
	return nil
}
