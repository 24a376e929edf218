package classify

// flagNames are what SHOW calls the flags, in the order of their bits.
var flagNames = [...]string{"opens transaction", "ends transaction", "set local", "copy", "execute", "process ids", "notify", "defines",
	"sequence", "tells role", "set", "reset", "discard", "prepare", "deallocate", "listen", "unlisten", "temporary object", "advisory lock",
	"cursor with hold", "load", "role", "seed", "session function"}

// Names lists the flags that are set, for people.
func (f Flags) Names() []string {
	var names []string
	for i, name := range flagNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}
