package command

import (
	"cmp"
	"slices"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// geoQuery is a search as a command asks for it.
type geoQuery struct {
	shape geoShape

	fromMember, fromPosition bool // where the centre comes from
	shaped                   bool // the shape is given
	withDist                 bool
	withHash                 bool
	withCoord                bool
	any                      bool
	order                    int // 1: nearest first, -1: farthest first
	count                    int64

	target    int // key to store to, -1 for none
	storeDist bool
}

// geoCommand is what the commands differ in.
type geoCommand struct {
	search   bool // GEOSEARCH…, whose options say where and how far
	byMember bool
	readOnly bool
	store    bool // GEOSEARCHSTORE
	source   int  // key
}

func georadius(c *Context)                 { c.geoSearch(geoCommand{}) }
func georadiusbymember(c *Context)         { c.geoSearch(geoCommand{byMember: true}) }
func georadiusReadOnly(c *Context)         { c.geoSearch(geoCommand{readOnly: true}) }
func georadiusbymemberReadOnly(c *Context) { c.geoSearch(geoCommand{byMember: true, readOnly: true}) }
func geosearch(c *Context)                 { c.geoSearch(geoCommand{search: true}) }
func geosearchstore(c *Context)            { c.geoSearch(geoCommand{search: true, store: true, source: 1}) }

func (c *Context) geoSearch(g geoCommand) {
	z, ok := c.lookupZSet(g.source)
	if !ok {
		return
	}
	q := geoQuery{target: -1}
	if !c.parseGeoQuery(&g, &q, z) {
		return
	}
	if z == nil {
		if q.target < 0 {
			c.array(0)
		} else {
			c.storeZSet(q.target, nil, "")
		}
		return
	}
	if q.count > 0 && q.order == 0 && !q.any {
		q.order = 1
	}
	found := q.run(z)
	if q.order != 0 {
		slices.SortStableFunc(found, func(a, b geoPoint) int { return q.order * cmp.Compare(a.metres, b.metres) })
	}
	if q.count > 0 && q.count < int64(len(found)) {
		found = found[:q.count]
	}
	if q.target >= 0 {
		c.storePoints(&g, &q, found)
		return
	}
	c.replyPoints(&q, found)
}

// parseGeoQuery reads all arguments. z is the set that is searched, nil when there is none.
func (c *Context) parseGeoQuery(g *geoCommand, q *geoQuery, z *store.ZSet) bool {
	i := 2
	switch {
	case g.store:
		i, q.target = 3, 0
	case g.search:
	case !g.byMember:
		i = 6
		var ok bool
		if q.shape.center, ok = c.positionArg(2); !ok || !c.geoRadius(q, 4) {
			return false
		}
	default:
		i = 5
		if z == nil {
			break
		}
		if !c.geoCenter(q, z, 2) || !c.geoRadius(q, 3) {
			return false
		}
	}
	for ; i < len(c.Args); i++ {
		left := len(c.Args) - i - 1
		ok := true
		switch {
		case c.is(i, "withdist"):
			q.withDist = true
		case c.is(i, "withhash"):
			q.withHash = true
		case c.is(i, "withcoord"):
			q.withCoord = true
		case c.is(i, "any"):
			q.any = true
		case c.is(i, "asc"):
			q.order = 1
		case c.is(i, "desc"):
			q.order = -1
		case c.is(i, "count") && left > 0:
			i++
			if q.count, ok = c.intArg(i); ok && q.count <= 0 {
				c.fail("ERR COUNT must be > 0")
				ok = false
			}
		case !g.search && !g.readOnly && left > 0 && (c.is(i, "store") || c.is(i, "storedist")):
			q.target, q.storeDist = 1, c.is(i, "storedist")
			i++
		case g.store && c.is(i, "storedist"):
			q.storeDist = true
		case g.search:
			var used int
			used, ok = c.geoSearchOption(q, z, i, left)
			i += used
		default:
			c.fail(errSyntax)
			ok = false
		}
		if !ok {
			return false
		}
	}
	return c.checkGeoQuery(g, q)
}

// geoSearchOption reads one that says where to search or how far, and gives the number of its arguments. The other of its
// kind must not have been given.
func (c *Context) geoSearchOption(q *geoQuery, z *store.ZSet, i, left int) (used int, ok bool) {
	switch {
	case c.is(i, "frommember") && left >= 1 && !q.fromPosition:
		q.fromMember = true
		return 1, z == nil || c.geoCenter(q, z, i+1)
	case c.is(i, "fromlonlat") && left >= 2 && !q.fromMember:
		q.fromPosition = true
		q.shape.center, ok = c.positionArg(i + 1)
		return 2, ok
	case c.is(i, "byradius") && left >= 2 && !(q.shaped && q.shape.box):
		q.shaped = true
		return 2, c.geoRadius(q, i+1)
	case c.is(i, "bybox") && left >= 3 && !(q.shaped && !q.shape.box):
		q.shaped, q.shape.box = true, true
		return 3, c.geoBoxArgs(q, i+1)
	}
	c.fail(errSyntax)
	return 0, false
}

func (c *Context) checkGeoQuery(g *geoCommand, q *geoQuery) bool {
	name := cString(c.Args[0])
	switch {
	case q.target >= 0 && (q.withDist || q.withHash || q.withCoord):
		what := "STORE option in GEORADIUS"
		if g.store {
			what = "GEOSEARCHSTORE"
		}
		c.fail("ERR " + what + " is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
	case g.search && !q.fromMember && !q.fromPosition:
		c.fail("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name)
	case g.search && !q.shaped:
		c.fail("ERR exactly one of BYRADIUS and BYBOX can be specified for " + name)
	case q.any && q.count == 0:
		c.fail("ERR the ANY argument requires COUNT argument")
	default:
		return true
	}
	return false
}

// geoCenter takes the position of the member that argument i names.
func (c *Context) geoCenter(q *geoQuery, z *store.ZSet, i int) (ok bool) {
	if q.shape.center, ok = positionOf(z, c.Args[i]); !ok {
		c.fail(errNoGeoMember)
	}
	return ok
}

// geoRadius reads a radius and its unit from argument i on.
func (c *Context) geoRadius(q *geoQuery, i int) (ok bool) {
	if q.shape.radius, ok = parseDouble(c.Args[i]); !ok {
		c.fail("ERR need numeric radius")
		return false
	}
	if q.shape.radius < 0 {
		c.fail("ERR radius cannot be negative")
		return false
	}
	q.shape.unit, ok = c.geoUnit(i + 1)
	return ok
}

func (c *Context) geoBoxArgs(q *geoQuery, i int) (ok bool) {
	if q.shape.width, ok = parseDouble(c.Args[i]); !ok {
		c.fail("ERR need numeric width")
		return false
	}
	if q.shape.height, ok = parseDouble(c.Args[i+1]); !ok {
		c.fail("ERR need numeric height")
		return false
	}
	if q.shape.width < 0 || q.shape.height < 0 {
		c.fail("ERR height or width cannot be negative")
		return false
	}
	q.shape.unit, ok = c.geoUnit(i + 2)
	return ok
}

// geoPoint is a member that was found.
type geoPoint struct {
	scored
	position
	metres float64 // from the centre
}

// run finds the members in the shape, in the order of the boxes, enough of them when any will do.
func (q *geoQuery) run(z *store.ZSet) (found []geoPoint) {
	limit := 0
	if q.any {
		limit = int(q.count)
	}
	boxes := q.shape.boxes()
	last := 0
	for i, box := range boxes {
		// Very large boxes are their own neighbours.
		if box == (geoBox{}) || last > 0 && box == boxes[last] {
			continue
		}
		if limit > 0 && len(found) >= limit {
			break
		}
		found = q.within(z, box, found, limit)
		last = i
	}
	return found
}

func (q *geoQuery) within(z *store.ZSet, box geoBox, found []geoPoint, limit int) []geoPoint {
	low, high := box.scores()
	from, to := z.Before(&store.Bound{Score: low}), z.Before(&store.Bound{Score: high})
	if from >= to {
		return found
	}
	at := z.At(from)
	for range to - from {
		p := fromScore(at.Score())
		if metres, ok := q.shape.covers(p); ok {
			found = append(found, geoPoint{scored{at.Member(), at.Score()}, p, metres})
			if limit > 0 && len(found) >= limit {
				break
			}
		}
		at.Next()
	}
	return found
}

func (c *Context) replyPoints(q *geoQuery, found []geoPoint) {
	parts := 1
	for _, with := range [...]bool{q.withDist, q.withHash, q.withCoord} {
		if with {
			parts++
		}
	}
	c.array(len(found))
	for i := range found {
		p := &found[i]
		if parts > 1 {
			c.array(parts)
		}
		c.bulk(p.member)
		if q.withDist {
			c.metres(p.metres / q.shape.unit)
		}
		if q.withHash {
			c.Out = resp.AppendInt(c.Out, int64(p.scored.score))
		}
		if q.withCoord {
			c.position(p.position)
		}
	}
}

func (c *Context) storePoints(g *geoCommand, q *geoQuery, found []geoPoint) {
	pairs := make([]scored, len(found))
	for i := range found {
		pairs[i] = found[i].scored
		if q.storeDist {
			pairs[i].score = found[i].metres / q.shape.unit
		}
	}
	event := "georadiusstore"
	if g.search {
		event = "geosearchstore"
	}
	c.storeZSet(q.target, pairs, event)
}
