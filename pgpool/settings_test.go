package pgpool

import (
	"fmt"
	"testing"
	"time"
)

// A client may have as many settings as it likes, and each SET is worked out on the event loop.
func TestManySettingsTakeLinearTime(t *testing.T) {
	const n = 50_000
	var list []setting
	for i := range n {
		list = append(list, setting{name: fmt.Sprintf("A.x%d", n-i), value: "1"}, setting{name: fmt.Sprintf("a.x%d", n-i), value: "2"})
	}
	begin := time.Now()
	s := newSettings(list)
	other := s.with(setting{name: "a.X1", value: "3"})
	if v, ok := other.find("A.x1"); !ok || v.value != "3" || len(s.list) != n || len(other.list) != n || s.list[0].value != "2" {
		t.Errorf("%d and %d settings, the changed one is %+v", len(s.list), len(other.list), v)
	}
	if _, ok := other.find("a.y"); ok {
		t.Error("a setting that was never set is found")
	}
	change(s, other)
	change(s, nil)
	if took := time.Since(begin); took > deadline {
		t.Errorf("%d settings took %v", n, took)
	}
}
