package gossiptest

import "testing"

func TestPort(t *testing.T) {
	given := map[int]bool{}
	t.Run("until the test ends", func(t *testing.T) {
		for range 100 {
			port := Port(t)
			if given[port] || !free(port) {
				t.Errorf("port %d is given twice, or taken", port)
			}
			if free(port + 1) {
				t.Errorf("port %d is not claimed", port)
			}
			given[port] = true
		}
	})
	for port := range given {
		if !free(port + 1) {
			t.Errorf("port %d is claimed after the test", port)
		}
	}
}
