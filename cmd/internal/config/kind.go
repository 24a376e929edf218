package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind says what a setting's value may look like.
type kind struct {
	name     string
	hint     string   // what a value looks like, for those who wrote something else
	values   []string // all values, or some to choose from, where that can be said
	isList   bool
	isMap    bool // of entries with settings of their own: read by loader.tree, not by parse
	optional bool // an empty text is a value: "not set"

	// parse turns the texts of a value (one, or a list's several) into the field; an empty text is the field's zero value.
	// Its error never repeats what may be secret.
	parse func(texts []string, field any) error
}

var errEmpty = errors.New("must not be empty")

func (k kind) read(texts []string, field any) error {
	if !k.optional && !k.isList && len(texts) == 1 && texts[0] == "" {
		return errEmpty
	}
	return k.parse(texts, field)
}

var (
	text        = optional(scalar("text", "", func(s string) (string, error) { return s, nil }))
	boolean     = among(scalar("on/off", "on or off", parseBool), "on", "off")
	duration    = scalar("duration", "such as 30s, 500ms, 2m, or bare seconds", parseDuration)
	addr        = scalar("host:port", "such as 127.0.0.1:6432", parseAddr)
	addrOrOff   = optional(scalar("host:port", "such as 127.0.0.1:7948, or off", parseAddrOrOff))
	file        = optional(scalar("file", "the path of a file that this process may read", parseFile))
	dir         = optional(scalar("directory", "the path of a directory that is there", parseDir))
	fileToWrite = optional(scalar("file to write", "the path of a file in a directory that is there", parseFileToWrite))
	socketPath  = optional(scalar("path", "the path of a socket in a directory that is there", parseSocketPath))
	fileMode    = scalar("octal number", "such as 0770", parseFileMode)
	pgURL       = optional(scalar("URL", hintURL, parsePostgresHosts))
	list        = listOf("list", "", func(s string) (string, error) { return s, nil })
	addrs       = listOf("list of host:port", "such as 127.0.0.1:6432, [::1]:6432", parseAddr)
	members     = listOf("list of host[:port]", "such as outrigger.default.svc or 10.0.0.1:7946", parseMember)
	pgURLs      = listOf("list of URLs", hintURL, parsePostgresURL)
	protocols   = kind{name: "list of protocols", values: append([]string{"secure", "all"}, tlsNames...), hint: "secure, all, or some of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3 without a gap", isList: true, parse: parseProtocols}

	routes    = enum("auto", "primary", "replica")
	routeList = listOf("list of name=route", "such as report=replica, worker-*=primary", parseRoute)

	databaseMap = kind{name: "map", hint: "such as {app: {primary_url: postgres://user:password@host/app, pool_size: 5}}", isMap: true}
	userMap     = kind{name: "map", hint: "such as {report: {pool_mode: session, query_timeout: 60s}}", isMap: true}
)

// scalar makes a kind from a parser of one text.
func scalar[T any](name, hint string, parse func(string) (T, error)) kind {
	return kind{name: name, hint: hint, parse: func(texts []string, field any) error {
		if len(texts) != 1 {
			return errors.New("takes one value, not a list")
		}
		var v T
		if texts[0] != "" {
			var err error
			if v, err = parse(texts[0]); err != nil {
				return err
			}
		}
		*field.(*T) = v
		return nil
	}}
}

// optional makes a kind that takes an empty text for "not set".
func optional(k kind) kind {
	k.optional = true
	return k
}

// positive makes a kind of durations that refuses 0.
func positive(k kind) kind {
	parse := k.parse
	k.parse = func(texts []string, field any) error {
		err := parse(texts, field)
		if d, ok := field.(*time.Duration); err == nil && ok && *d == 0 && texts[0] != "" {
			err = errors.New("must be more than 0")
		}
		return err
	}
	return k
}

// among adds to a kind the values to choose from.
func among(k kind, values ...string) kind {
	k.values = values
	return k
}

// listOf makes a kind of comma-separated or listed texts; empty ones are dropped.
func listOf(name, hint string, parse func(string) (string, error)) kind {
	return kind{name: name, hint: hint, isList: true, parse: func(texts []string, field any) error {
		var all []string
		for one := range parts(texts) {
			v, err := parse(one)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		*field.(*[]string) = all
		return nil
	}}
}

// parts calls yield for each part of a list's texts between commas.
func parts(texts []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, t := range texts {
			for one := range strings.SplitSeq(t, ",") {
				if one = strings.TrimSpace(one); one != "" && !yield(one) {
					return
				}
			}
		}
	}
}

// enum is one of some names. The empty one, where a setting's default is empty, leaves the choice to the program.
func enum(values ...string) kind {
	hint := "one of " + strings.Join(values, ", ")
	return among(scalar(hint, hint, func(s string) (string, error) {
		if s = strings.ToLower(s); slices.Contains(values, s) {
			return s, nil
		}
		return "", unlike(s, "a value that is known", values)
	}), values...)
}

func count(low, high int) kind {
	return scalar("number", fmt.Sprintf("from %d to %d", low, high), func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange):
			return 0, fmt.Errorf("%q is not a whole number", s)
		case err != nil || n < low || n > high:
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return n, nil
	})
}

func size(low, high int64) kind {
	return scalar("size", "such as 64MiB, 512KiB, 2GiB, or bytes", func(s string) (int64, error) {
		n, err := parseSize(s)
		switch {
		case err != nil:
			return 0, err
		case n < low:
			return 0, fmt.Errorf("%q is less than %s", s, formatSize(low))
		case n > high:
			return 0, fmt.Errorf("%q is more than %s", s, formatSize(high))
		}
		return n, nil
	})
}

// unlike is the error about a text that is none of those known.
func unlike(s, what string, known []string) error {
	if best, ok := Similar(s, known); ok {
		return fmt.Errorf("%q is not %s: did you mean %s?", s, what, best)
	}
	return fmt.Errorf("%q is not %s", s, what)
}
