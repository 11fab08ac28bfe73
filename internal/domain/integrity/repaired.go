package integrity

import (
	"encoding/json"
	"errors"
	"fmt"

	"gocache.dev/operator/internal/domain/report"
)

// Repaired is the report of a repair, as `gocache-agent repair` writes it to the
// termination log.
type Repaired struct {
	// Removed is how many paths were removed.
	Removed int `json:"removed"`
	// Refused is why nothing was removed, if that was decided.
	Refused string `json:"refused,omitempty"`
	// Before is the cause, in a sentence; After is the verdict after the repair.
	Before string  `json:"before"`
	After  Verdict `json:"after"`
}

// ParseRepaired reads the report of a repair, and refuses what contradicts itself.
func ParseRepaired(data []byte) (Repaired, error) {
	var raw struct {
		Repaired
		After json.RawMessage `json:"after"`
	}
	if err := report.Decode(data, &raw); err != nil {
		return Repaired{}, fmt.Errorf("no report of a repair: %w", err)
	}
	if raw.Refused != "" {
		return raw.Repaired, nil
	}
	if len(raw.After) == 0 {
		return Repaired{}, errors.New("no report of a repair: it has no verdict")
	}
	after, err := ParseVerdict(raw.After)
	if err != nil {
		return Repaired{}, fmt.Errorf("no report of a repair: %w", err)
	}
	raw.Repaired.After = after
	return raw.Repaired, nil
}

// Fit is the report's JSON in at most limit bytes.
func (m Repaired) Fit(limit int) []byte {
	m.Before, m.Refused = clip(m.Before, maxDetail), clip(m.Refused, maxDetail)
	for spare := 256; ; spare += 256 {
		var raw struct {
			Repaired
			After json.RawMessage `json:"after"`
		}
		raw.Repaired, raw.After = m, m.After.Fit(max(limit-spare, 0))
		if data, err := json.Marshal(raw); err == nil && len(data) <= limit || spare > limit {
			return data
		}
	}
}
