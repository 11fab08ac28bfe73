package integrity

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Mended is the report of a repair, as `gocache-agent repair` leaves it in the
// termination log.
type Mended struct {
	// Removed is how many paths were removed.
	Removed int `json:"removed"`
	// Refused says why nothing was removed, if that was decided.
	Refused string `json:"refused,omitempty"`
	// Before is why, in a sentence; After the whole verdict on what is left.
	Before string  `json:"before"`
	After  Verdict `json:"after"`
}

// ParseMended reads the report of a repair, and refuses what contradicts itself.
func ParseMended(data []byte) (Mended, error) {
	var raw struct {
		Mended
		After json.RawMessage `json:"after"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Mended{}, fmt.Errorf("no report of a repair: %w", err)
	}
	if raw.Refused != "" {
		return raw.Mended, nil
	}
	if len(raw.After) == 0 {
		return Mended{}, errors.New("no report of a repair: it says nothing of what is left")
	}
	after, err := ParseVerdict(raw.After)
	if err != nil {
		return Mended{}, fmt.Errorf("no report of a repair: %w", err)
	}
	raw.Mended.After = after
	return raw.Mended, nil
}

// Fit is the report's JSON in at most limit bytes.
func (m Mended) Fit(limit int) []byte {
	m.Before, m.Refused = clip(m.Before, maxDetail), clip(m.Refused, maxDetail)
	for spare := 256; ; spare += 256 {
		var raw struct {
			Mended
			After json.RawMessage `json:"after"`
		}
		raw.Mended, raw.After = m, m.After.Fit(max(limit-spare, 0))
		if data, err := json.Marshal(raw); err == nil && len(data) <= limit || spare > limit {
			return data
		}
	}
}
