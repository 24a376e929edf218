package command

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errNoGeoMember = "ERR could not decode requested zset member"

func geoSpecs() []Spec {
	return []Spec{
		{Name: "geoadd", Arity: -5, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.0",
			Help: "Adds members to a geospatial index, which is a sorted set", run: geoadd, grow: zsetGrowth},
		{Name: "geopos", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.0",
			Help: "Returns the longitude and latitude of members", run: geopos},
		{Name: "geodist", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.0",
			Help: "Returns the distance between two members", run: geodist},
		{Name: "geohash", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.0",
			Help: "Returns members as geohash strings", run: geohash},
		{Name: "geosearch", Arity: -7, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "6.2.0",
			Help: "Returns the members inside a circle or a box", run: geosearch},
		{Name: "geosearchstore", Arity: -8, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "geo", Since: "6.2.0",
			Help: "Stores the members inside a circle or a box in a key", run: geosearchstore},
		{Name: "georadius", Arity: -6, Flags: Write | DenyOOM, keys: geoRadiusKeys, Group: "geo", Since: "3.2.0",
			Help: "Returns, or stores, the members within a distance of a position", run: georadius},
		{Name: "georadiusbymember", Arity: -5, Flags: Write | DenyOOM, keys: geoRadiusKeys, Group: "geo", Since: "3.2.0",
			Help: "Returns, or stores, the members within a distance of a member", run: georadiusbymember},
		{Name: "georadius_ro", Arity: -6, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.10",
			Help: "Returns the members within a distance of a position", run: georadiusReadOnly},
		{Name: "georadiusbymember_ro", Arity: -5, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "geo", Since: "3.2.10",
			Help: "Returns the members within a distance of a member", run: georadiusbymemberReadOnly},
	}
}

// geoRadiusKeys: the set, and the last key that a STORE or STOREDIST names.
func geoRadiusKeys(args [][]byte, at []int) []int {
	stored := 0
	for i := 5; i+1 < len(args); i++ {
		if EqualFold(args[i], "store") || EqualFold(args[i], "storedist") {
			i++
			stored = i
		}
	}
	if at = append(at, 1); stored > 0 {
		at = append(at, stored)
	}
	return at
}

func geoadd(c *Context) {
	var o zaddOptions
	i := 2
options:
	for ; i < len(c.Args); i++ {
		switch {
		case c.is(i, "nx"):
			o.nx = true
		case c.is(i, "xx"):
			o.xx = true
		case c.is(i, "ch"):
			o.ch = true
		default:
			break options
		}
	}
	if n := len(c.Args) - i; n == 0 || n%3 != 0 || o.nx && o.xx {
		c.fail(errSyntax)
		return
	}
	c.floats = c.floats[:0]
	for j := i; j < len(c.Args); j += 3 {
		p, ok := c.positionArg(j)
		if !ok {
			return
		}
		c.floats = append(c.floats, p.score())
	}
	c.addMembers(&o, i+2, 3)
}

// positionArg reads arguments i and i+1 as longitude and latitude.
func (c *Context) positionArg(i int) (p position, ok bool) {
	if p.long, ok = parseDouble(c.Args[i]); ok {
		p.lat, ok = parseDouble(c.Args[i+1])
	}
	if !ok {
		c.fail(errNotFloat)
		return p, false
	}
	if p.long < -maxLong || p.long > maxLong || p.lat < -maxLat || p.lat > maxLat {
		c.fail(fmt.Sprintf("ERR invalid longitude,latitude pair %s,%s", cFixed(p.long), cFixed(p.lat)))
		return p, false
	}
	return p, true
}

// cFixed is C's %f.
func cFixed(v float64) string {
	switch s := strconv.FormatFloat(v, 'f', 6, 64); s {
	case "+Inf":
		return "inf"
	case "-Inf":
		return "-inf"
	default:
		return s
	}
}

// geoUnit reads argument i as a unit and gives its metres.
func (c *Context) geoUnit(i int) (float64, bool) {
	switch {
	case c.is(i, "m"):
		return 1, true
	case c.is(i, "km"):
		return 1000, true
	case c.is(i, "ft"):
		return 0.3048, true
	case c.is(i, "mi"):
		return 1609.34, true
	}
	c.fail("ERR unsupported unit provided. please use M, KM, FT, MI")
	return 0, false
}

// positionOf is where a member is.
func positionOf(z *store.ZSet, member []byte) (p position, ok bool) {
	if z == nil {
		return p, false
	}
	score, ok := z.Score(member)
	return fromScore(score), ok
}

func geopos(c *Context) {
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	c.array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		p, ok := positionOf(z, member)
		if !ok {
			c.nullArray()
			continue
		}
		c.position(p)
	}
}

func (c *Context) position(p position) {
	c.array(2)
	c.degrees(p.long)
	c.degrees(p.lat)
}

// degrees appends a coordinate with up to 17 decimals.
func (c *Context) degrees(v float64) {
	text := strconv.AppendFloat(nil, v, 'f', 17, 64)
	text = bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
	if len(text) == 0 || string(text) == "-0" {
		text = []byte("0")
	}
	if c.Proto < 3 {
		c.bulk(text)
		return
	}
	c.Out = append(append(append(c.Out, ','), text...), '\r', '\n')
}

// metres appends a distance, in some unit, with four decimals.
func (c *Context) metres(v float64) {
	var text [32]byte
	c.bulk(strconv.AppendFloat(text[:0], v, 'f', 4, 64))
}

func geodist(c *Context) {
	unit := 1.0
	switch {
	case len(c.Args) > 5:
		c.fail(errSyntax)
		return
	case len(c.Args) == 5:
		var ok bool
		if unit, ok = c.geoUnit(4); !ok {
			return
		}
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	a, ok := positionOf(z, c.Args[2])
	if ok {
		var b position
		if b, ok = positionOf(z, c.Args[3]); ok {
			c.metres(distance(a, b) / unit)
			return
		}
	}
	c.null()
}

func geohash(c *Context) {
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	c.array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		p, ok := positionOf(z, member)
		if !ok {
			c.null()
			continue
		}
		text := p.text()
		c.Out = resp.AppendBulk(c.Out, text[:])
	}
}
