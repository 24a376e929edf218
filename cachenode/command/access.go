package command

import "strings"

// KeyUse is what a command does with a key, as the key specifications of Redis's commands tell it.
type KeyUse struct {
	// How is RO, RW (the change may depend on the value), OW (the value is overwritten) or RM (it is removed, unseen).
	How string
	// Reads: something of the value reaches the client. Length, type and existence are not counted as such.
	Reads bool
	// Change is update, insert or delete; empty for none.
	Change string
}

// Writes tells whether the key is changed.
func (u KeyUse) Writes() bool { return u.Change != "" }

// Words are the flags by which COMMAND tells it.
func (u KeyUse) Words() []string {
	words := []string{u.How}
	if u.Reads {
		words = append(words, "access")
	}
	if u.Change != "" {
		words = append(words, u.Change)
	}
	return words
}

// keyUses has the commands by what they do with their first key and with their others (src/commands/*.json in Redis 7).
// Those that are not here read, and if they write, update.
var keyUses = []struct{ first, others, commands string }{
	{"RO", "RO", `exists hexists hlen hstrlen llen memory|usage object|encoding object|freq object|idletime object|refcount scard sismember
		strlen touch type watch xlen zcard`},
	{"RW access", "RW access", "pfcount"},
	{"RW update", "RW update", `expire expireat geoadd hmset hset lset persist pexpire pexpireat setrange xack xadd xclaim xgroup|setid
		xsetid zadd hexpire hpexpire hexpireat hpexpireat hpersist hsetex`},
	{"RW access delete", "RW access delete", `blmpop blpop brpop bzmpop bzpopmax bzpopmin getdel hgetdel lmpop lpop rpop spop zmpop
		zpopmax zpopmin`},
	{"RW delete", "RW delete", `hdel lrem ltrim srem xautoclaim xdel xgroup|delconsumer xgroup|destroy xtrim zrem zremrangebylex
		zremrangebyrank zremrangebyscore`},
	{"RW insert", "RW insert", "append hsetnx linsert lpush lpushx pfadd rpush rpushx sadd xgroup|create xgroup|createconsumer"},
	{"OW update", "OW update", "mset msetex psetex restore setex x.setlease"},
	{"OW insert", "OW insert", "msetnx setnx"},
	{"RM delete", "RM delete", "del delex delifeq unlink"},
	{"RW access delete", "RW insert", "blmove brpoplpush lmove rpoplpush smove"},
	{"RW access delete", "OW insert", "renamenx"},
	{"RW access delete", "OW update", "rename"},
	{"RO access", "OW update", "copy georadius georadiusbymember sort"},
	{"OW update", "RO access", "bitop geosearchstore sdiffstore sunionstore zdiffstore zinterstore zrangestore zunionstore"},
	{"RW update", "RO access", "sinterstore"},
	{"RW access insert", "RO access", "pfmerge"},
	{"RO access", "RO access", "xreadgroup"},
}

// findUse sets what the command does with its keys.
func (s *Spec) findUse() {
	use := KeyUse{How: "RO", Reads: true}
	if s.Flags&Write != 0 {
		use = KeyUse{How: "RW", Reads: true, Change: "update"}
	}
	s.first, s.others = use, use
	for _, row := range keyUses {
		if contains(strings.Fields(row.commands), s.Name) {
			s.first, s.others = parseUse(row.first), parseUse(row.others)
		}
	}
}

func parseUse(text string) (u KeyUse) {
	for _, w := range strings.Fields(text) {
		switch w {
		case "RO", "RW", "OW", "RM":
			u.How = w
		case "access":
			u.Reads = true
		default:
			u.Change = w
		}
	}
	return u
}

// Use is what the command does with the i-th of its keys. nil args stand for the most that it may do.
func (s *Spec) Use(i int, args [][]byte) KeyUse {
	switch {
	case i > 0:
		return s.others
	case args == nil:
	case s.Name == "set" && !optionGiven(args[min(3, len(args)):], "get"):
		return KeyUse{How: "OW", Change: "update"}
	case s.Name == "bitfield" && onlyGets(args):
		return KeyUse{How: "RO", Reads: true}
	}
	return s.first
}

func optionGiven(options [][]byte, word string) bool {
	for _, o := range options {
		if EqualFold(o, word) {
			return true
		}
	}
	return false
}

// onlyGets tells whether BITFIELD changes nothing (bitfieldGetKeys in Redis's db.c).
func onlyGets(args [][]byte) bool {
	for i := 2; i < len(args); i++ {
		switch left := len(args) - i - 1; {
		case EqualFold(args[i], "get") && left >= 2:
			i += 2
		case (EqualFold(args[i], "set") || EqualFold(args[i], "incrby")) && left >= 3:
			return false
		case EqualFold(args[i], "overflow") && left >= 1:
			i++
		default:
			return false // what it may be is not known
		}
	}
	return true
}

// Elsewhere is the position of the first argument by which SORT reads keys that it does not name; 0 for none.
func (s *Spec) Elsewhere(args [][]byte) int {
	if s.Name != "sort" && s.Name != "sort_ro" {
		return 0
	}
	for i := 2; i < len(args)-1; i++ {
		switch {
		case EqualFold(args[i], "limit"):
			i += 2
		case EqualFold(args[i], "store"):
			i++
		case EqualFold(args[i], "get"), EqualFold(args[i], "by") && strings.IndexByte(string(args[i+1]), '*') >= 0:
			return i
		case EqualFold(args[i], "by"):
			i++
		}
	}
	return 0
}
