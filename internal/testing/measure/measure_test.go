package measure

import (
	"os/exec"
	"runtime"
	"testing"
)

// TestPeak holds that the memory of a program is measured, and not that of the process
// that started it.
func TestPeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc/PID/status")
	}
	const held = 256 << 20
	mine := make([]byte, held)
	for i := 0; i < len(mine); i += 4096 {
		mine[i] = 1
	}
	c, err := Peak(exec.Command("sleep", "0.2"))
	runtime.KeepAlive(mine)
	if err != nil {
		t.Fatal(err)
	}
	if c.Resident <= 0 || c.Resident > held/4 {
		t.Errorf("sleep took %d MiB", c.Resident>>20)
	}
	if _, err := Peak(exec.Command("false")); err == nil {
		t.Error("a program that fails was measured")
	}
}
