// HOT PATH

package near

// Heat counts how often one loop asks other nodes for keys, by their hashes. Where keys share a place, the one that is asked for
// most holds it: each other that comes takes one off its count.
type Heat struct {
	places [heatPlaces]heatPlace
	halved int64
}

type heatPlace struct {
	tag   uint32 // of the hash
	count uint32
}

const (
	heatPlaces = 4096
	// hot is after how many reads a key is worth a copy: so at most one read in so many is dearer than it was. Counts halve
	// each second, so that it takes half as many in each.
	hot = 8
)

// Hot counts a read at now, in milliseconds that do not go back, and tells whether the key is worth a copy. Then it is counted
// anew.
func (h *Heat) Hot(hash uint64, now int64) bool {
	if now-h.halved >= 1000 {
		h.halve(now)
	}
	p, tag := &h.places[hash%heatPlaces], uint32(hash>>32)
	switch {
	case p.tag == tag:
		p.count++
	case p.count > 0:
		p.count--
	default:
		p.tag, p.count = tag, 1
	}
	if p.tag != tag || p.count < hot {
		return false
	}
	p.count = 0
	return true
}

func (h *Heat) halve(now int64) {
	shift := min((now-h.halved)/1000, 31)
	h.halved = now
	for i := range h.places {
		h.places[i].count >>= shift
	}
}
