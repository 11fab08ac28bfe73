package modsum_test

import (
	"errors"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/modsum"
)

const someSum = "h1:g52VgphPSaK+9iVTWqTHH74atAmNv+jZls74eXeSSog="

func TestParse(t *testing.T) {
	s, err := modsum.Parse([]byte(someSum))
	if err != nil || s.String() != someSum {
		t.Fatalf("%v, %v", s, err)
	}
	for text, heals := range map[string]bool{
		"": true, someSum[:46]: true, someSum + "\n": true, strings.Repeat("\x00", 47): true, someSum[:20] + "\x00" + someSum[21:]: true,
		"h2" + someSum[2:]: false, someSum[:20] + "!" + someSum[21:]: false, someSum[:45] + "h=": false,
	} {
		if _, err := modsum.Parse([]byte(text)); err == nil || errors.Is(err, modsum.ErrHealing) != heals {
			t.Errorf("%q: %v, heals by itself: want %t", text, err, heals)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(someSum))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := modsum.Parse(data); err == nil && s.String() != string(data) {
			t.Fatalf("%q is read as %s", data, s)
		}
	})
}
