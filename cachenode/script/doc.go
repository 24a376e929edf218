// Package script runs Lua on the cache: EVAL, EVALSHA, their _RO forms and SCRIPT, as Redis 7 does.
//
//	runner.go    Engine, Runner: how a script is run, and what it replies when it fails
//	admin.go     SCRIPT
//	cache.go     compiled scripts by SHA1
//	flags.go     the line "#!lua flags=…"
//	lexer.go, parser.go, expressions.go: Lua 5.1 into the interpreter's syntax tree
//	names.go     what a script calls its values, for messages
//	compile.go   from text to what can run
//	rewrite.go   what is changed on the way: concatenation is a call
//	machine.go   the interpreter, and what scripts see of it
//	guard.go     limits of time and memory
//	redis.go     redis.call and its kind
//	convert.go   replies to values of Lua and back
//	base.go      the global functions
//	load.go      those that run what they are given: pcall, xpcall, load, loadstring
//	lib.go       string, table, math
//	pattern.go   what matches a pattern
//	search.go    string.find, match, gmatch, gsub
//	format.go    string.format
//	bit.go, json.go, msgpack.go, struct.go: the libraries bit, cjson, cmsgpack, struct
//	number.go, args.go: numbers and arguments as Lua reads them
//	errors.go    the interpreter's messages in the words of Lua
//	native.go, wellknown.go: well-known scripts that run as Go
//	nativelocks.go, nativelimits.go: those that lock and those that limit rates
//
// # How a script is kept from doing harm
//
// A script holds all shards while it runs. So it is ended, wherever it stands, when it takes too long or too much memory:
// the interpreter asks the guard before each instruction, and what loops or allocates in one piece, which is every library
// function that can, is our own and asks as well. What a script has written until then stays.
package script
