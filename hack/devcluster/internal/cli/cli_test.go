package cli

import (
	"testing"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"20Gi": 20 << 30, "20G": 20 << 30, "512Mi": 512 << 20, "1Ti": 1 << 40, "1048576": 1 << 20} {
		var s sizeFlag
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%s: got %d, %v", text, s, err)
		}
		var again sizeFlag
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%s is shown as %s", text, s.String())
		}
	}
	for _, text := range []string{"", "Gi", "-1Gi", "0", "many", "99999999Ti"} {
		var s sizeFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken for %d", text, s)
		}
	}
}

func TestEveryVisibleCommandDescribesItself(t *testing.T) {
	t.Parallel()
	for _, c := range newRoot().Commands() {
		if !c.Hidden && c.Short == "" {
			t.Errorf("%s has no description", c.Name())
		}
	}
}
