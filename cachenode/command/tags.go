package command

import (
	"fmt"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// tagSpecs are the rows of tags, which Redis has nothing like. They are specified in protocol/README.md.
func tagSpecs() []Spec {
	return []Spec{
		{Name: "x.tag", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: ownCommand,
			Help: "Binds a key to tags, besides those that it has", run: tag},
		{Name: "x.invalidate", Arity: -2, Flags: Write | Fast | NoScript | NoMulti, Scope: OnAll, Group: "generic", Since: ownCommand,
			Help: "Makes all keys miss that are bound to any of the tags", run: invalidate},
	}
}

// maxTags is how many tags one command may name.
const maxTags = 1024

var (
	errManyTags    = fmt.Sprintf("ERR at most %d tags at once", maxTags)
	errTagLength   = fmt.Sprintf("ERR a tag has 1 to %d bytes", store.MaxTag)
	errTooManyTags = fmt.Sprintf("ERR a key has at most %d tags: to have others set it anew, or give its prefix tags in cache_prefixes", store.MaxTagsOfKey)
)

// CheckTags says what is wrong with tags, "" for nothing.
func CheckTags(tags [][]byte) string {
	if len(tags) > maxTags {
		return errManyTags
	}
	for _, tag := range tags {
		if len(tag) == 0 || len(tag) > store.MaxTag {
			return errTagLength
		}
	}
	return ""
}

func tag(c *Context) {
	tags := c.Args[2:]
	if wrong := CheckTags(tags); wrong != "" {
		c.fail(wrong)
		return
	}
	it := c.tx.Peek(&c.keys[0])
	switch {
	case it == nil:
		c.int(0)
	case c.tx.Tag(&c.keys[0], it, tags):
		c.int(1)
	default:
		c.fail(errTooManyTags)
	}
}

// invalidate is the command on this node. Keys of it have changed, and nobody knows which.
func invalidate(c *Context) {
	tags := c.Args[1:]
	if wrong := CheckTags(tags); wrong != "" {
		c.fail(wrong)
		return
	}
	c.Store.Invalidate(tags, 0, c.NowMilli)
	c.Flushed = true
	c.ok()
}
