// Package config reads Outrigger's settings. One table (settings.go) says for each its name, kind, default and meaning;
// the file's keys, the environment's variables, the flags, `outrigger check`, and the README's table all follow from it.
//
// Precedence: default < file (--config) < environment < flags. Every problem found is reported at once, with the place
// it comes from and a hint.
//
// # Files
//
//	config.go    Config and Pool: what the program reads
//	database.go  what databases and users have of their own, and who comes first
//	listen.go    where Postgres clients connect, and how they log in there
//	memory.go    how much the cache may take by default
//	settings.go  the table
//	kind.go      what a value may look like
//	parse.go     how a value's text is read and shown
//	load.go      the sources, in order
//	file.go      the YAML file
//	tree.go      the maps of databases and users
//	problem.go   what is wrong, where, and what to do about it
//	validate.go  what no single value can tell
//	print.go     the effective configuration without its secrets; the README's table
package config
