package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// runAsMain makes the test binary behave as the program: `outrigger dev` starts sidecars from its own executable.
const runAsMain = "TEST_RUN_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runAsMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// result is what a command line leaves.
type result struct {
	code           int
	stdout, stderr string
}

func command(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(args, &environment{environ: environ, stdout: &stdout, stderr: &stderr, version: "v-test", commit: "c0ffee"})
	return result{code, stdout.String(), stderr.String()}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandLine(t *testing.T) {
	bad := write(t, "bad.yaml", "primary_ulr: x\ndrain_timeout: soon\n")
	good := write(t, "good.yaml", "primary_url: postgres://app:hunter2@db/app\nzone: a\n")
	list := write(t, "userlist.txt", "app secret\n")
	key := write(t, "key", "too short")
	ini := write(t, "pgbouncer.ini", "[databases]\n* = host=db user=u password=p\n[pgbouncer]\nlisten_addr = localhost\npidfile = x\n")
	tests := []struct {
		name    string
		environ []string
		args    []string
		code    int
		stdout  []string
		stderr  []string
	}{
		{"no command", nil, nil, 0, []string{"outrigger dev", "serve", "check", "completion"}, nil},
		{"help", nil, []string{"help", "serve"}, 0, []string{"--primary-url", "--drain-timeout", "OUTRIGGER_X_Y", "Examples:"}, nil},
		{"help of dev", nil, []string{"dev", "--help"}, 0, []string{"--replicas", "--exec", "DATABASE_URL"}, nil},
		{"version", nil, []string{"version"}, 0, []string{"outrigger v-test commit c0ffee go1."}, nil},
		{"version as JSON", nil, []string{"version", "--json"}, 0, []string{`{"version":"v-test","commit":"c0ffee","go":"go1.`}, nil},
		{"completion for bash", nil, []string{"completion", "bash"}, 0, []string{"__start_outrigger"}, nil},
		{"completion for zsh", nil, []string{"completion", "zsh"}, 0, []string{"#compdef outrigger"}, nil},
		{"completion for fish", nil, []string{"completion", "fish"}, 0, []string{"complete -c outrigger"}, nil},
		{"exit codes", nil, []string{"help"}, 0, []string{"Exit codes: 0 "}, nil},
		{"pgbouncer.ini", nil, []string{"check", "--pgbouncer", ini}, 0, []string{"primary_url: postgres://u:p@db:5432/postgres", "pool_mode: session", "#   " + ini + ":5: pidfile: "},
			[]string{ini + ":5: pidfile: let the service manager do it"}},
		{"pgbouncer.ini that does not parse", nil, []string{"check", "--pgbouncer", bad}, 2, nil, []string{"bad.yaml:1: not `key = value`"}},
		{"pgbouncer.ini and a file of ours", nil, []string{"check", "--pgbouncer", ini, "--config", good}, 2, nil, []string{"pgbouncer"}},
		{"databases", []string{"OUTRIGGER_DATABASES={app: {primary_url: 'postgres://a:hunter2@b', pool_size: 3}}"}, []string{"check", "--users", "{u: {pool_mode: session}}"}, 0,
			[]string{"databases: # from OUTRIGGER_DATABASES", "primary_url: postgres://a:xxxxx@b # from OUTRIGGER_DATABASES", "pool_mode: session # from --users"}, nil},
		{"--version", nil, []string{"--version"}, 0, []string{"outrigger v-test commit c0ffee go1."}, nil},
		{"unknown command", nil, []string{"server"}, 2, nil, []string{`unknown command "server" (did you mean serve?)`, "outrigger help"}},
		{"unknown command like no other", nil, []string{"frobnicate"}, 2, nil, []string{`unknown command "frobnicate"` + "\n"}},
		{"help on an unknown command", nil, []string{"help", "server"}, 2, nil, []string{`unknown command "server" (did you mean serve?)`}},
		{"help on help", nil, []string{"help", "help"}, 0, []string{"Describe a command"}, nil},
		{"unknown flag", nil, []string{"serve", "--primary-ulr=x"}, 2, nil, []string{"unknown flag: --primary-ulr (did you mean --primary-url?)"}},
		{"values completed", nil, []string{"__complete", "serve", "--pool-mode", "s"}, 0, []string{"session\ntransaction\nstatement\n:4"}, []string{""}},
		{"values of a switch completed", nil, []string{"__complete", "serve", "--cache="}, 0, []string{"on\noff\n:4"}, []string{""}},
		{"files left to the shell", nil, []string{"__complete", "serve", "--auth-file", ""}, 0, []string{":0"}, []string{""}},
		{"help's commands completed", nil, []string{"__complete", "help", ""}, 0, []string{"check\t", "serve\tRun the sidecar"}, []string{""}},
		{"stray argument", nil, []string{"check", "x"}, 2, nil, []string{`"x"`}},
		{"flag of the wrong type", nil, []string{"dev", "--nodes=x"}, 2, nil, []string{"--nodes"}},
		{"check", []string{"OUTRIGGER_ZONE=b"}, []string{"check", "-c", good, "--loops=3", "--allow-insecure"}, 0,
			[]string{"app:xxxxx@db", "zone: b # from OUTRIGGER_ZONE", "loops: 3 # from --loops", "allow_insecure: on # from --allow-insecure"},
			[]string{"warning: allow_insecure is on"}},
		{"all problems", []string{"OUTRIGGER_POOL_MODE=x"}, []string{"check", "--config", bad, "--loops=-1"}, 2, nil,
			[]string{"4 problems", "bad.yaml:1: primary_ulr", "did you mean primary_url?", "bad.yaml:2: drain_timeout", "OUTRIGGER_POOL_MODE: pool_mode", "--loops: loops"}},
		{"serve with problems", nil, []string{"serve", "--config", bad}, 2, nil, []string{"2 problems"}},
		{"user list that does not parse", []string{"PRIMARY_DB_URL=postgres://a@b/c"}, []string{"check", "--client-auth=scram-sha-256", "--auth-file=" + list}, 2,
			nil, []string{"auth_file: ", "line 1"}},
		{"key of a wrong length", nil, []string{"check", "--cluster-key-file=" + key}, 2, nil, []string{"cluster_key_file: ", "openssl rand -base64 32"}},
		{"dev without nodes", nil, []string{"dev", "--nodes=0"}, 2, nil, []string{"--nodes takes 1 or more"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, tt.environ, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("%q is missing from stdout:\n%s", want, got.stdout)
				}
			}
			for _, want := range tt.stderr {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("%q is missing from stderr:\n%s", want, got.stderr)
				}
			}
			if tt.stderr == nil && got.stderr != "" {
				t.Errorf("stderr: %s", got.stderr)
			}
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Error("a password was printed")
			}
		})
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, cmd := range newRoot(&environment{}).Commands() {
		if !strings.Contains(cmd.Example, "outrigger "+cmd.Name()) || cmd.Short == "" {
			t.Errorf("%s: example %q", cmd.Name(), cmd.Example)
		}
	}
}
