package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outrigger-proxy/outrigger/cmd/internal/app"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config/pgbouncer"
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
	commit         string // empty: unknown
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
	if errors.Is(err, errUnhealthy) {
		return exitFailure // the report has said why
	}
	fmt.Fprintln(env.stderr, "outrigger:", err)
	_, wrongUse := errors.AsType[usageError](err)
	_, badInput := errors.AsType[inputError](err)
	switch {
	case config.IsProblems(err) || badInput:
		return exitUsage
	case !started || wrongUse:
		fmt.Fprintln(env.stderr, "`outrigger help` lists the commands, `outrigger help serve` the settings")
		return exitUsage
	}
	return exitFailure
}

// usageError marks a command line that says something impossible.
type usageError struct{ error }

// inputError marks a file that cannot be understood.
type inputError struct{ error }

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "outrigger",
		Short: "A sidecar: Postgres pooler with read/write split, and a cache shared by all sidecars",
		Long: `Outrigger runs beside an application. DATABASE_URL points at it and reaches a Postgres pooler that sends reads to
replicas and writes to the primary. REDIS_URL points at it and reaches a cache that all sidecars share.

Exit codes: 0 ended as asked; 1 failed while running; 2 the command line, the configuration or a file to convert is wrong, and
nothing was started. outrigger dev --exec exits with its command's.`,
		Example: `  outrigger dev                                    # a database, a replica and three sidecars to play with
  outrigger serve --primary-url postgres://app:secret@db:5432/app
  outrigger check --config outrigger.yaml
  outrigger status                                 # of a running sidecar`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          oneOfCommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       versionLine(env),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(explainFlag)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newServe(env), newStatus(env), newDev(env), newCheck(env), newVersion(env))
	return root
}

// oneOfCommands complains about a first word that is no command, and says which one was probably meant.
func oneOfCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if best, ok := config.Similar(args[0], names); ok {
		return fmt.Errorf("unknown command %q (did you mean %s?)", args[0], best)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// explainFlag adds to an unknown flag the one that was probably meant.
func explainFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if best, ok := config.Similar(unknown.GetSpecifiedName(), names); ok {
		return fmt.Errorf("%w (did you mean --%s?)", err, best)
	}
	return err
}

// newHelp replaces cobra's, which succeeds on a command that does not exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [command]",
		Short:   "Describe a command and its flags",
		Example: "  outrigger help serve",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			described, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = oneOfCommands(described, rest)
			}
			if err != nil {
				return usageError{err}
			}
			described.InitDefaultHelpFlag()
			return described.Help()
		},
	}
}

// settings adds --config and a flag for each setting to cmd. The function returned loads them.
func settings(cmd *cobra.Command, env *environment) func(set ...config.Given) (*config.Config, error) {
	src := config.Sources{Environ: env.environ, Flags: config.Flags()}
	cmd.Flags().StringVarP(&src.File, "config", "c", "", "YAML file with settings; also OUTRIGGER_CONFIG")
	for _, f := range src.Flags {
		flag := cmd.Flags().VarPF(f, f.Name(), "", f.Usage())
		if f.IsBool() {
			flag.NoOptDefVal = "on"
		}
		if !f.IsFile() { // file names are what a shell offers by itself
			_ = cmd.RegisterFlagCompletionFunc(f.Name(), cobra.FixedCompletions(f.Values(), cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return func(set ...config.Given) (*config.Config, error) {
		src.Set = set
		return config.Load(src)
	}
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
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
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
		Use:   "check",
		Short: "Validate the settings and print those in effect, passwords masked",
		Long: `Validate the settings and print those in effect with the place each comes from, passwords masked. The output is a file that --config
reads, once the passwords are back in. Nothing is started or connected to. Problems are listed all at once, with exit code 2.

With --pgbouncer, print the settings that do what a pgbouncer.ini does, passwords included. Settings without an equivalent are named on
standard error and in comments at the end, with what to do instead.` + settingsHelp,
		Example: `  outrigger check --config outrigger.yaml
  outrigger check --pgbouncer /etc/pgbouncer/pgbouncer.ini >outrigger.yaml && outrigger check --config outrigger.yaml`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	load := settings(cmd, env)
	ini := cmd.Flags().String("pgbouncer", "", "pgbouncer.ini to convert instead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *ini != "" {
			if cmd.Flags().NFlag() > 1 {
				return usageError{errors.New("--pgbouncer converts a file and takes no other flag")}
			}
			return convert(env, *ini)
		}
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

// convert prints our settings for a pgbouncer.ini.
func convert(env *environment, ini string) error {
	converted, err := pgbouncer.Convert(ini)
	if err != nil {
		return inputError{err}
	}
	for _, note := range converted.Notes {
		fmt.Fprintln(env.stderr, note)
	}
	_, err = io.WriteString(env.stdout, converted.YAML)
	return err
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
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
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

// versionLine is what version and --version print.
func versionLine(env *environment) string {
	return fmt.Sprintf("outrigger %s commit %s %s %s/%s", env.version, cmp.Or(env.commit, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersion(env *environment) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, its commit, and what built it",
		Example: `  outrigger version
  outrigger version --json`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				_, err := fmt.Fprintln(env.stdout, versionLine(env))
				return err
			}
			return json.NewEncoder(env.stdout).Encode(struct {
				Version string `json:"version"`
				Commit  string `json:"commit"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{env.version, cmp.Or(env.commit, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}
