package imagepool

import "testing"

// TestReadBytes holds which number of a device's statistics is taken.
func TestReadBytes(t *testing.T) {
	if n, err := readBytes("    119        0     2048       59        8 0 9\n"); err != nil || n != 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := readBytes("1 2"); err == nil {
		t.Error("no error")
	}
}
