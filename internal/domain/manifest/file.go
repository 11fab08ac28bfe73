package manifest

const (
	// RecordsDir is the directory at the root of a volume that holds the records of
	// the writer.
	RecordsDir = ".gocache"
	// Name is the file in RecordsDir that holds the manifest of what the writer has left.
	Name = "manifest.zst"
)
