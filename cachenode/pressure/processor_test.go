package pressure

import "testing"

func TestProcessor(t *testing.T) {
	const stat = "nr_periods 10\nnr_throttled "
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing", nil, 0},
		{"version 2", map[string]string{
			"proc/self/cgroup":                 "0::/pod/box",
			"sys/fs/cgroup/cpu.stat":           "usage_usec 1",
			"sys/fs/cgroup/pod/cpu.stat":       "usage_usec 1\n" + stat + "4\nthrottled_usec 9",
			"sys/fs/cgroup/pod/box/cpu.stat":   stat + "3",
			"sys/fs/cgroup/pod/other/cpu.stat": stat + "100",
		}, 7},
		{"version 2 in a container", map[string]string{
			"proc/self/cgroup":       "0::/",
			"sys/fs/cgroup/cpu.stat": stat + "5",
		}, 5},
		{"version 1", map[string]string{
			"proc/self/cgroup":               "4:cpu,cpuacct:/box\n0::/",
			"sys/fs/cgroup/cpu/box/cpu.stat": stat + "2\nthrottled_time 1",
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := openProcessor(system(t, c.files)).Throttled(); got != c.want {
				t.Errorf("%d periods, want %d", got, c.want)
			}
		})
	}
}
