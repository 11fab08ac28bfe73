// Package bounded shortens what goes into a status to what the schema accepts:
// a message that is a byte too long would lose the whole status.
package bounded

// Text is a text in at most n bytes of whole characters.
func Text(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xC0 == 0x80 { // inside a character
		n--
	}
	return text[:n]
}
