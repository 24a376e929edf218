package respserver

import (
	"fmt"
	"runtime/metrics"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// processMemory is what the process has from the system, and what of it the collector has found alive or not yet looked at.
func processMemory() (total, heap uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64(), samples[2].Value.Uint64()
}

// memoryCommand is MEMORY, but for USAGE, which is about a key. It reports false when the reply comes later.
func (s *session) memoryCommand(sub string) (done bool) {
	st := s.st.srv.cfg.Store
	total, heap := processMemory()
	used, limit := st.Used(), st.MaxBytes()
	switch sub {
	case "stats":
		held := st.Stats()
		keys := 0
		for _, n := range held.Keys {
			keys += n
		}
		perKey := int64(0)
		if keys > 0 {
			perKey = used / int64(keys)
		}
		fields := []struct {
			name  string
			value int64
		}{
			{"total.allocated", used}, {"keys.count", int64(keys)}, {"keys.bytes-per-key", perKey}, {"dataset.bytes", held.Bytes},
			{"maxmemory", limit}, {"allocator.allocated", int64(heap)}, {"allocator.resident", int64(total)},
			{"clients.normal", int64(s.st.srv.Clients())},
		}
		s.st.w = resp.AppendMap(s.st.w, len(fields), s.proto)
		for _, f := range fields {
			s.text(f.name)
			s.int(f.value)
		}
	case "doctor":
		text := "I find nothing wrong with the memory of this node.\n"
		switch {
		case limit > 0 && used > limit/10*9:
			text = fmt.Sprintf("The cache uses %s of the %s that it may (max_memory): it makes room by evicting.\n", human(used), human(limit))
		case limit == 0:
			text = "There is no max_memory: nothing keeps the cache from taking all memory.\n"
		}
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", text, s.proto)
	case "purge":
		return s.purgeCommand()
	case "malloc-stats":
		s.st.w = resp.AppendVerbatim(s.st.w, "txt", fmt.Sprintf("heap objects: %d bytes\nfrom the system: %d bytes\n", heap, total), s.proto)
	}
	return true
}
