package refusal_test

import (
	"testing"

	"gocache.dev/operator/internal/kube/refusal"
)

func TestPod(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{
			`Error creating: pods "ci-writer-x7k2p" is forbidden: exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4`,
			"exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4",
		},
		{`pods "goproxy-router-5d9-x" is forbidden: failed quota: compute: must specify limits.cpu for: haproxy`, "failed quota: compute: must specify limits.cpu for: haproxy; set podTemplate.resources"},
		{
			`create Pod goproxy-blue-0 in StatefulSet goproxy-blue failed error: pods "goproxy-blue-0" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]`,
			"[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]",
		},
		{`Error creating: admission webhook "x.example.com" denied the request: no label team`, `admission webhook "x.example.com" denied the request: no label team`},
		{"", ""},
	} {
		if got := refusal.Pod(tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
