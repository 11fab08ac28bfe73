// Package unimplemented finds the fields of an object that this release does
// not act on: they are never silently ignored.
package unimplemented

// Field of an object of type T.
type Field[T any] struct {
	// Path of the field, and where it matters its value.
	Path string
	// Set says whether an object makes use of it.
	Set func(T) bool
}

// First is the path of the first field that an object makes use of, or "".
func First[T any](fields []Field[T], o T) string {
	for _, f := range fields {
		if f.Set(o) {
			return f.Path
		}
	}
	return ""
}
