package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxSize is the most bytes that a report may have. A termination message has 4096 at
// most; the verdict on a store, which is read by HTTP, may have more.
const MaxSize = 1 << 20

// MaxDigest is the most bytes of a digest in a report: it is stored as it is, and the
// status has room for as many.
const MaxDigest = 128

// maxNumber is the largest number in a report: JSON numbers are exact up to it, and it
// fits into each type that the operator computes with.
const maxNumber = 1 << 53

// seconds is the field of a duration, and maxSeconds its bound: a time.Duration ends
// at nine times that.
const (
	seconds    = "durationSeconds"
	maxSeconds = 1e9
)

// Decode decodes one report. It refuses one that is too long, is not one JSON object,
// or has a number that is negative or too large: reports contain counts, sizes and
// durations only.
func Decode(data []byte, into any) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes, more than %d", len(data), MaxSize)
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("not a JSON object")
	}
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	var all any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return err
	}
	return inRange(all)
}

// inRange reports the first number that no report can have.
func inRange(value any) error {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Float64(); err != nil || n < 0 || n > maxNumber {
			return fmt.Errorf("number %.40q, want one from 0 to 2^53", v.String())
		}
	case []any:
		for _, element := range v {
			if err := inRange(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, field := range v {
			if err := inRange(field); err != nil {
				return fmt.Errorf("%.40q: %w", name, err)
			}
			if n, ok := field.(json.Number); ok && name == seconds {
				if s, err := n.Float64(); err != nil || s > maxSeconds {
					return fmt.Errorf("%s %.40q, want at most %g", seconds, n.String(), maxSeconds)
				}
			}
		}
	}
	return nil
}
