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
	charge   func(int64) // tells of bytes taken, or given back
}

func newCache(count, size int, charge func(int64)) *cache {
	return &cache{bySHA: map[string]*list.Element{}, recent: list.New(), maxCount: count, maxSize: size, charge: charge}
}

// bytes is what a script takes with what it was compiled to, roughly.
func (p *program) bytes() int64 { return int64(2<<10 + 16*len(p.source)) }

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
	c.charge(p.bytes())
	for c.recent.Len() > 1 && (c.recent.Len() > c.maxCount || c.size > c.maxSize) {
		last := c.recent.Back()
		gone := c.recent.Remove(last).(*program)
		delete(c.bySHA, gone.sha)
		c.size -= len(gone.source)
		c.charge(-gone.bytes())
	}
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.recent.Front(); e != nil; e = e.Next() {
		c.charge(-e.Value.(*program).bytes())
	}
	c.bySHA, c.recent, c.size = map[string]*list.Element{}, list.New(), 0
}
