package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mountinfo string
		want      []string
	}{
		"version 1 and 2": {
			"1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
				"2 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
				"3 1 0:3 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw\n" +
				"4 1 0:2 / /var/tmp/x/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
			[]string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"},
		},
		"version 2 alone": {
			"1 0 0:1 / /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n",
			[]string{"/sys/fs/cgroup"},
		},
		"none": {"1 0 0:1 / / rw - ext4 /dev/vda rw\nnonsense\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, parse(test.mountinfo)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
