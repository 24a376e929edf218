package script

import (
	"container/list"
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// program is a script that can run. It does not change once it is in the cache.
type program struct {
	sha    string
	source string
	proto  *lua.FunctionProto
	names  *names
	flags  flags
	native native // runs instead, where it can
}

// cache holds the scripts by SHA1, the least recently used ones leave when they take too much.
type cache struct {
	mu       sync.Mutex
	bySHA    map[string]*list.Element
	recent   *list.List // of *program, the last used in front
	size     int
	maxCount int
	maxSize  int
}

func newCache(count, size int) *cache {
	return &cache{bySHA: map[string]*list.Element{}, recent: list.New(), maxCount: count, maxSize: size}
}

func (c *cache) get(sha string) *program {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.bySHA[sha]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*program)
}

func (c *cache) put(p *program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bySHA[p.sha] != nil {
		return
	}
	c.bySHA[p.sha] = c.recent.PushFront(p)
	c.size += len(p.source)
	for c.recent.Len() > 1 && (c.recent.Len() > c.maxCount || c.size > c.maxSize) {
		last := c.recent.Back()
		gone := c.recent.Remove(last).(*program)
		delete(c.bySHA, gone.sha)
		c.size -= len(gone.source)
	}
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bySHA, c.recent, c.size = map[string]*list.Element{}, list.New(), 0
}
