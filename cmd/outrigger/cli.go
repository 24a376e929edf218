package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/outrigger-proxy/outrigger/cmd/internal/app"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/dev"
)

// Exit codes. `outrigger dev --exec` gives its command's instead.
const (
	exitOK      = 0
	exitFailure = 1 // something went wrong while it ran
	exitUsage   = 2 // the command line or the configuration is wrong: nothing was started
)

// environment is what the program takes from its process, so that tests need none.
type environment struct {
	environ        []string
	signals        <-chan os.Signal
	stdin          *os.File
	stdout, stderr io.Writer
	version        string
}

// run executes a command line and returns its exit code.
func run(args []string, env *environment) int {
	started := false
	root := newRoot(env)
	root.SetArgs(args)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[*dev.StatusError](err); ok {
		return status.Code // of --exec: its command has said why
	}
	fmt.Fprintln(env.stderr, "outrigger:", err)
	_, wrongUse := errors.AsType[usageError](err)
	switch {
	case config.IsProblems(err):
		return exitUsage
	case !started || wrongUse:
		fmt.Fprintln(env.stderr, "`outrigger help` lists the commands, `outrigger help serve` the settings")
		return exitUsage
	}
	return exitFailure
}

// usageError marks a command line that says something impossible.
type usageError struct{ error }

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "outrigger",
		Short: "A sidecar: Postgres pooler with read/write split, and a cache shared by all sidecars",
		Long: `Outrigger runs beside an application. DATABASE_URL points at it and reaches a Postgres pooler that sends reads to
replicas and writes to the primary. REDIS_URL points at it and reaches a cache that all sidecars share.`,
		Example: `  outrigger dev                                    # a database, a replica and three sidecars to play with
  outrigger serve --primary-url postgres://app:secret@db:5432/app
  outrigger check --config outrigger.yaml`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newServe(env), newDev(env), newCheck(env), newVersion(env))
	return root
}

// settings adds --config and a flag for each setting to cmd. The function returned loads them.
func settings(cmd *cobra.Command, env *environment) func() (*config.Config, error) {
	src := config.Sources{Environ: env.environ, Flags: config.Flags()}
	cmd.Flags().StringVarP(&src.File, "config", "c", "", "YAML file with settings; also OUTRIGGER_CONFIG")
	for _, f := range src.Flags {
		flag := cmd.Flags().VarPF(f, f.Name(), "", f.Usage())
		if f.IsBool() {
			flag.NoOptDefVal = "on"
		}
	}
	return func() (*config.Config, error) { return config.Load(src) }
}

const settingsHelp = `
Every setting x_y stands in the YAML file of --config as x_y, in the environment as OUTRIGGER_X_Y, and on the command line as
--x-y; the command line comes before the environment, and that before the file.`

func newServe(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the sidecar",
		Long:  "Run the sidecar until SIGTERM (clients finish first, up to drain_timeout) or SIGINT (at once, as a crash would). SIGHUP reads the settings again." + settingsHelp,
		Example: `  outrigger serve --primary-url postgres://app:secret@db:5432/app --replica-urls postgres://app:secret@replica:5432/app
  OUTRIGGER_PRIMARY_URL=postgres://app:secret@db:5432/app outrigger serve --join outrigger.default.svc
  outrigger serve --config outrigger.yaml`,
		Args: cobra.NoArgs,
	}
	load := settings(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		sidecar, err := app.New(app.Options{Config: cfg, Load: load, Signals: env.signals, LogTo: env.stderr, Version: env.version})
		if err != nil {
			return err
		}
		return sidecar.Run(cmd.Context())
	}
	return cmd
}

func newCheck(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Validate the settings and print those in effect, passwords masked",
		Long:    "Validate the settings and print those in effect with the place each comes from, passwords masked. Nothing is started or connected to." + settingsHelp,
		Example: "  outrigger check --config outrigger.yaml",
		Args:    cobra.NoArgs,
	}
	load := settings(cmd, env)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := app.Check(cfg); err != nil {
			return err
		}
		for _, w := range cfg.Warnings() {
			fmt.Fprintln(env.stderr, "warning:", w)
		}
		_, err = io.WriteString(env.stdout, cfg.YAML())
		return err
	}
	return cmd
}

func newDev(env *environment) *cobra.Command {
	opts := dev.Options{Environ: env.environ, Signals: env.signals, Stdin: env.stdin, Stdout: env.stdout, Stderr: env.stderr}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "A throwaway database with replicas, and sidecars in front",
		Long: `Start a throwaway Postgres primary with streaming replicas, pgbench's tables in it, and a ring of sidecars in front, all on
loopback. Print the URLs and lines to try. Everything is removed at the end.

With --exec, run a command by the shell with DATABASE_URL, REDIS_URL, PGHOST, PGPORT, PGUSER, PGDATABASE, PRIMARY_URL and
REPLICA_URLS set, and exit with its status. OUTRIGGER_NODES_DATABASE_URLS, _REDIS_URLS, _HTTP_URLS and _PIDS list every sidecar.

OUTRIGGER_… variables reach the sidecars, but for those that dev sets itself: URLs, addresses, names.`,
		Example: `  outrigger dev
  outrigger dev --nodes 1 --exec 'pgbench -n -S -c 16 -T 10'
  OUTRIGGER_DEFAULT_POOL_SIZE=5 outrigger dev --replicas 2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.Validate(); err != nil {
				return usageError{err}
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the path of this program: %w", err)
			}
			opts.Program = program
			return dev.Run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&opts.Replicas, "replicas", 1, "streaming replicas")
	flags.IntVar(&opts.Nodes, "nodes", 3, "sidecars")
	flags.IntVar(&opts.Scale, "scale", 10, "pgbench scale, 100,000 accounts each; 0 for no tables")
	flags.StringVar(&opts.Exec, "exec", "", "shell command to run instead of waiting for Ctrl-C")
	return cmd
}

func newVersion(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(env.stdout, "outrigger %s %s %s/%s\n", env.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
