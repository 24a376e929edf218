package command

import "strings"

// Category is a set of the categories by which access is granted (Redis documentation, "ACL").
type Category uint32

const (
	CategoryKeyspace Category = 1 << iota
	CategoryRead
	CategoryWrite
	CategorySet
	CategorySortedSet
	CategoryList
	CategoryHash
	CategoryString
	CategoryBitmap
	CategoryHyperLogLog
	CategoryGeo
	CategoryStream
	CategoryPubSub
	CategoryAdmin
	CategoryFast
	CategorySlow
	CategoryBlocking
	CategoryDangerous
	CategoryConnection
	CategoryTransaction
	CategoryScripting
)

// Categories are the names, in the order of the bits.
var Categories = []string{"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
	"stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting"}

// ParseCategory finds a category by its name in any case.
func ParseCategory(name string) (Category, bool) {
	for i, n := range Categories {
		if strings.EqualFold(n, name) {
			return 1 << i, true
		}
	}
	return 0, false
}

// Names lists the categories of the set as COMMAND does: with an @ each.
func (c Category) Names() (names []string) {
	for i, n := range Categories {
		if c&(1<<i) != 0 {
			names = append(names, "@"+n)
		}
	}
	return names
}

// groupCategories are what the group of a command makes it.
var groupCategories = map[string]Category{
	"generic": CategoryKeyspace, "string": CategoryString, "hash": CategoryHash, "set": CategorySet, "sorted-set": CategorySortedSet,
	"list": CategoryList, "bitmap": CategoryBitmap, "hyperloglog": CategoryHyperLogLog, "geo": CategoryGeo, "stream": CategoryStream,
	"pubsub": CategoryPubSub, "connection": CategoryConnection, "transactions": CategoryTransaction, "scripting": CategoryScripting,
}

// moreCategories are those that neither the group nor the flags tell; without, what is left of the group's is taken away.
var moreCategories = map[string]struct{ with, without Category }{
	"keys":      {with: CategoryDangerous},
	"flushall":  {with: CategoryKeyspace | CategoryDangerous},
	"flushdb":   {with: CategoryKeyspace | CategoryDangerous},
	"dbsize":    {with: CategoryKeyspace},
	"restore":   {with: CategoryDangerous},
	"sort":      {with: CategorySet | CategorySortedSet | CategoryList | CategoryDangerous, without: CategoryKeyspace},
	"sort_ro":   {with: CategorySet | CategorySortedSet | CategoryList | CategoryDangerous, without: CategoryKeyspace},
	"info":      {with: CategoryDangerous},
	"lastsave":  {with: CategoryAdmin | CategoryDangerous},
	"role":      {with: CategoryAdmin | CategoryDangerous},
	"command":   {with: CategoryConnection},
	"wait":      {with: CategoryConnection, without: CategoryKeyspace},
	"readonly":  {with: CategoryConnection},
	"readwrite": {with: CategoryConnection},
}

// Categories are those of the command.
func (s *Spec) Categories() Category {
	name := s.Name
	if s.Container != nil {
		name = s.Container.Name
	}
	set := groupCategories[s.Group]
	more := moreCategories[name]
	set = set&^more.without | more.with
	if len(s.Subs) > 0 && name != "command" {
		return CategorySlow // a container alone can do nothing
	}
	if s.Container != nil && (name == "config" || name == "memory" || name == "latency" || name == "slowlog" || name == "acl" || s.Name == "pubsub|help") {
		set = 0
	}
	for _, f := range []struct {
		flag     Flag
		category Category
	}{
		{Write, CategoryWrite}, {ReadOnly, CategoryRead}, {Admin, CategoryAdmin | CategoryDangerous}, {Blocking, CategoryBlocking},
	} {
		if s.Flags&f.flag != 0 && s.Group != "scripting" {
			set |= f.category
		}
	}
	if s.Flags&Fast != 0 {
		return set | CategoryFast
	}
	return set | CategorySlow
}

// flagNames are the words of COMMAND, in its order.
var flagNames = []struct {
	flag Flag
	name string
}{
	{Write, "write"}, {ReadOnly, "readonly"}, {DenyOOM, "denyoom"}, {Admin, "admin"}, {PubSub, "pubsub"}, {Blocking, "blocking"},
	{NoScript, "noscript"}, {Fast, "fast"}, {NoAuth, "no_auth"}, {NoMulti, "no_multi"},
}

// moreFlags are the words that concern nothing here, by which clients may go.
var moreFlags = map[string][]string{
	"loading stale": {"command", "echo", "info", "lastsave", "publish", "readonly", "readwrite", "select", "spublish", "time"},
	"noscript":      {"wait"},
	"noscript loading stale": {"debug", "monitor", "psubscribe", "punsubscribe", "role", "ssubscribe", "subscribe", "sunsubscribe",
		"unsubscribe"},
	"noscript loading stale allow_busy":             {"auth", "discard", "hello", "multi", "quit", "reset", "unwatch", "watch"},
	"noscript loading stale skip_slowlog":           {"exec"},
	"noscript stale skip_monitor no_mandatory_keys": {"eval", "eval_ro", "evalsha", "evalsha_ro"},
}

// FlagNames are the flags of the command as COMMAND tells them.
func (s *Spec) FlagNames() (names []string) {
	if len(s.Subs) > 0 && s.Name != "command" {
		return nil
	}
	for _, f := range flagNames {
		if f.flag == Write && s.Group == "scripting" {
			continue // what a script does is not known before
		}
		if f.flag == PubSub && s.Group == "pubsub" || f.flag != PubSub && s.Flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	if s.keys != nil || s.Name == "sort_ro" {
		names = append(names, "movablekeys")
	}
	for words, commands := range moreFlags {
		for _, c := range commands {
			if c == s.Name {
				names = append(names, strings.Fields(words)...)
			}
		}
	}
	if s.Container != nil {
		for _, row := range subRows[s.Container.Name] {
			if row.name == s.Name[len(s.Container.Name)+1:] {
				return strings.Fields(row.flags)
			}
		}
	}
	return names
}

func contains(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}
