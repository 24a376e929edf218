package pgpool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTracesOf(t *testing.T) {
	known := &catalog{
		defaults: map[string]initial{"work_mem": {"4MB", true}, "search_path": {}, "timezone": {}},
		hazards:  map[string]*traces{"sets": {kinds: traceSettings, names: []string{"work_mem"}}},
	}
	for _, tc := range []struct {
		text     string
		kinds    traceKinds
		names    []string
		releases traceKinds
	}{
		{text: "select 1"},
		{text: "update t set a = 1, work = 2 where id = 3"},
		{text: "begin SET work_mem = '1MB'; end", kinds: traceSettings, names: []string{"work_mem"}},
		{text: "set session search_path to a, b", kinds: traceSettings, names: []string{"search_path"}},
		{text: `set "work_mem" = 1`, kinds: traceSettings, names: []string{"work_mem"}},
		{text: "set local work_mem = 1", kinds: traceLocal},
		{text: "set my.thing = 1; set My.Deep.Thing to 2", kinds: traceSettings, names: []string{"my.thing", "my.deep.thing"}},
		{text: "set time zone 'UTC'", kinds: traceSettings, names: []string{"timezone"}},
		{text: "set role x", kinds: traceSettings},
		{text: "reset work_mem", kinds: traceSettings, names: []string{"work_mem"}},
		{text: "reset all", kinds: traceSettings | traceAnySetting},
		{text: "select set_config('Work_Mem', f(',)'), false)", kinds: traceSettings, names: []string{"work_mem"}},
		{text: "select set_config('work_mem', '1', true)", kinds: traceLocal},
		{text: "execute 'select set_config(''my.x'', ''1'', false)'", kinds: traceSettings, names: []string{"my.x"}},
		{text: "select set_config($1, $2, false)", kinds: traceSettings | traceAnySetting},
		{text: "select set_config('a' || '.b', '', false)", kinds: traceSettings | traceAnySetting | traceHidden},
		{text: "select set_config(", kinds: traceSettings | traceAnySetting | traceHidden},
		{text: "create TEMPORARY table x()", kinds: traceTemp},
		{text: "drop table x", releases: traceTemp},
		{text: "perform pg_advisory_lock(1)", kinds: traceLock},
		{text: "perform pg_advisory_xact_lock(1)"},
		{text: "begin execute command; end", kinds: traceAll},
		{text: "begin execute format('select %I', x); end"},
		{text: "grant execute on function f() to x"},
		{text: "select sets()", kinds: traceSettings, names: []string{"work_mem"}},
		{text: "select forgets()"},
		{text: "create or replace function f()", kinds: traceCatalog},
		{text: "create trigger x before insert on t execute function f()", kinds: traceCatalog},
		{text: "begin; select 1; alter function f() stable; commit", kinds: traceCatalog},
		{text: "create unlogged table t ()", kinds: traceCatalog},
		{text: "alter table t set logged", kinds: traceCatalog},
		{text: "do $$ begin execute 'drop policy p on t'; end $$", kinds: traceCatalog, releases: traceTemp},
		{text: "import foreign schema s from server f into public", kinds: traceCatalog},
		{text: "select * from function"},
		{text: "select view, policy; insert into schema values (1)"},
		{text: "close c; deallocate p; unlisten x", releases: traceObjects},
		{text: "\xff\xfe set"},
		{text: ""},
	} {
		got := tracesOf(tc.text, known)
		if got.kinds != tc.kinds || !slices.Equal(got.names, tc.names) || got.releases != tc.releases {
			t.Errorf("%q: kinds %b, names %q, releases %b; want %b, %q, %b", tc.text, got.kinds, got.names, got.releases, tc.kinds, tc.names, tc.releases)
		}
	}
}

// A text may have megabytes and is looked through on the event loop: the time grows with its length and no faster. Of one
// that would take longer, anything is assumed.
func TestTracesTakeLinearTime(t *testing.T) {
	const size = 256 << 10
	var names strings.Builder
	for i := 0; names.Len() < size; i++ {
		fmt.Fprintf(&names, "set a%d to 1;", i)
	}
	for _, tc := range []struct {
		text  string
		gives traceKinds
	}{
		{strings.Repeat("--set\n", size/6), traceHidden},
		{strings.Repeat("--set\n", 1000) + strings.Repeat("a", size), traceHidden},
		{strings.Repeat("/*set*/", size/7), 0},
		{strings.Repeat("set/*", size/5), traceHidden},
		{strings.Repeat("set_config(", size/11), traceHidden},
		{strings.Repeat("set_config('", size/12), traceHidden},
		{"SET " + strings.Repeat("a.", size/2) + "a TO 1", traceHidden},
		{"RESET " + strings.Repeat("a.", size/2) + "a", traceHidden},
		{strings.Repeat("set ", size/4), 0},
		{strings.Repeat("set session ", size/12), 0},
		{strings.Repeat("reset ", size/6), traceSettings},
		{strings.Repeat("execute format ((", size/17), traceAll},
		{names.String(), traceSettings},
	} {
		begin := time.Now()
		got := tracesOf("select 1; listen x; "+tc.text, &catalog{})
		if got.kinds&tc.gives != tc.gives || got.kinds&traceListen == 0 || tc.gives == 0 && got.kinds != traceListen {
			t.Errorf("%.40q…: kinds %b, want %b", tc.text, got.kinds, tc.gives)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%.40q…: %d bytes took %v", tc.text, len(tc.text), took)
		}
	}
}

func FuzzTracesOf(f *testing.F) {
	for _, s := range sessions {
		for _, step := range s.steps {
			for _, m := range step {
				f.Add(string(m.body))
			}
		}
	}
	f.Add(sessionCode)
	known := &catalog{defaults: map[string]initial{"work_mem": {}}, hazards: map[string]*traces{"f": {kinds: traceTemp}}}
	f.Fuzz(func(t *testing.T, text string) {
		got := tracesOf(text, known)
		if len(got.names) > maxTraceNames {
			t.Errorf("%d names", len(got.names))
		}
		checkSQL(&got)
		got.values([]byte(text))
	})
}
