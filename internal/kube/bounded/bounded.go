// Package bounded shortens what goes into a status to what the schema accepts:
// a message that is a byte too long would lose the whole status.
package bounded

import (
	"strings"
	"unicode"
)

// Text is a text in at most n bytes of whole characters, without control characters
// but line breaks and tabs: outputs of programs and names of files hold those of
// terminals, and a status is shown in one.
func Text(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xC0 == 0x80 { // inside a character
		n--
	}
	return text[:n]
}
