package config

const (
	maxDefaultMemory = 1 << 30
	// unknownMemory is max_memory's default where the system does not tell what there is.
	unknownMemory = 256 << 20
)

// defaultMaxMemory is a quarter of the limit bytes that the process may have, 0 for unknown: the other half of the sidecar and
// what the collector has not freed yet live there too, and perhaps the application.
func defaultMaxMemory(limit int64) int64 {
	if limit == 0 {
		return unknownMemory
	}
	return max(1<<20, min(limit/4, maxDefaultMemory))
}
