package store

// sharedFrom is the size of a file system, in percent of the volume, from which other
// volumes share it: drivers round sizes up, by less than that.
const sharedFrom = 110

// Shared reports whether other volumes use a file system of a capacity too, when one
// of them has a size; 0: its size is not known. Then only the volume's own files count
// against its size. Both are in bytes.
func Shared(capacity, size int64) bool {
	return size > 0 && float64(capacity)*100 >= float64(size)*sharedFrom
}
