package command

import (
	"math"
)

// A position is a geohash: longitude and latitude, each halved 26 times, their bits interleaved, the longitude's first. As 52
// bits it fits a score exactly.
const (
	geoSteps  = 26
	maxLong   = 180.0
	maxLat    = 85.05112878 // of the Mercator projection
	earth     = 6372797.560856
	mercator  = 20037726.37
	geoDigits = "0123456789bcdefghjkmnpqrstuvwxyz"
)

// geoBox is a geohash of so many steps: all positions that begin with it. The zero geoBox is none.
type geoBox struct {
	bits  uint64
	steps int
}

// geoArea is what a geoBox covers, in degrees.
type geoArea struct{ minLong, maxLong, minLat, maxLat float64 }

// position is a longitude and a latitude in degrees.
type position struct{ long, lat float64 }

// encode gives the box of so many steps that a position is in. lat is how far latitudes go.
func (p position) encode(steps int, lat float64) geoBox {
	scale := float64(uint64(1) << steps)
	x := uint32((p.long + maxLong) / (2 * maxLong) * scale)
	y := uint32((p.lat + lat) / (2 * lat) * scale)
	return geoBox{interleave(y) | interleave(x)<<1, steps}
}

// interleave puts zeros between the bits.
func interleave(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// gather undoes interleave.
func gather(x uint64) uint32 {
	x &= 0x5555555555555555
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0f0f0f0f0f0f0f0f
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

func (b geoBox) area() geoArea {
	scale := float64(uint64(1) << b.steps)
	x, y := float64(gather(b.bits>>1)), float64(gather(b.bits))
	return geoArea{
		minLong: -maxLong + float64(x/scale*(2*maxLong)), maxLong: -maxLong + float64((x+1)/scale*(2*maxLong)),
		minLat: -maxLat + float64(y/scale*(2*maxLat)), maxLat: -maxLat + float64((y+1)/scale*(2*maxLat)),
	}
}

// fromScore is the position that a score stands for: the middle of its box.
func fromScore(score float64) position {
	a := geoBox{uint64(score), geoSteps}.area()
	return position{
		long: max(min((a.minLong+a.maxLong)/2, maxLong), -maxLong),
		lat:  max(min((a.minLat+a.maxLat)/2, maxLat), -maxLat),
	}
}

// score is what a position is stored as.
func (p position) score() float64 { return float64(p.encode(geoSteps, maxLat).bits) }

// text is the standard geohash, whose latitudes go to the poles. 52 bits make ten digits and a bit: the eleventh is zero.
func (p position) text() (s [11]byte) {
	b := p.encode(geoSteps, 90).bits
	for i := range 10 {
		s[i] = geoDigits[b>>(47-5*i)&31]
	}
	s[10] = geoDigits[0]
	return s
}

// scores gives the scores of all positions in the box: from low to before high.
func (b geoBox) scores() (low, high float64) {
	shift := 2 * (geoSteps - b.steps)
	return float64(b.bits << shift), float64((b.bits + 1) << shift)
}

// move gives the box so many to the east and to the north, -1, 0 or 1, round the globe. A position on the very edge is in
// a box beyond the last, which only a move in that direction brings back: as in Redis, where the box itself finds nothing.
func (b geoBox) move(east, north int) geoBox {
	mask := uint32(1)<<b.steps - 1
	x, y := gather(b.bits>>1), gather(b.bits)
	if east != 0 {
		x = (x + uint32(east)) & mask
	}
	if north != 0 {
		y = (y + uint32(north)) & mask
	}
	return geoBox{interleave(y) | interleave(x)<<1, b.steps}
}

func radians(degrees float64) float64 { return degrees * (math.Pi / 180) }
func degrees(radians float64) float64 { return radians / (math.Pi / 180) }

// distance is along a great circle of a round earth, in metres (haversine).
func distance(a, b position) float64 {
	v := math.Sin((radians(b.long) - radians(a.long)) / 2)
	if v == 0 {
		return latDistance(a.lat, b.lat)
	}
	lat1, lat2 := radians(a.lat), radians(b.lat)
	u := math.Sin((lat2 - lat1) / 2)
	return 2 * earth * math.Asin(math.Sqrt(float64(u*u)+float64(math.Cos(lat1)*math.Cos(lat2)*v*v)))
}

func latDistance(a, b float64) float64 { return earth * math.Abs(radians(b)-radians(a)) }

// geoShape is what is searched: a circle, or a box with sides along the meridians and parallels.
type geoShape struct {
	center        position
	box           bool
	radius        float64 // in units
	width, height float64 // in units
	unit          float64 // metres
}

// covers tells whether a position is in the shape, and how far from the centre.
func (s *geoShape) covers(p position) (metres float64, ok bool) {
	if !s.box {
		metres = distance(s.center, p)
		return metres, metres <= s.radius*s.unit
	}
	if latDistance(p.lat, s.center.lat) > s.height*s.unit/2 ||
		distance(p, position{s.center.long, p.lat}) > s.width*s.unit/2 {
		return 0, false
	}
	return distance(s.center, p), true
}

// bounds is the area that the shape surely lies in.
func (s *geoShape) bounds() geoArea {
	height, width := s.unit*s.radius, s.unit*s.radius
	if s.box {
		height, width = s.unit*(s.height/2), s.unit*(s.width/2)
	}
	lat := degrees(height / earth)
	// Towards the pole the same width is more degrees.
	toward := s.center.lat + lat
	if s.center.lat < 0 {
		toward = s.center.lat - lat
	}
	long := degrees(width / earth / math.Cos(radians(toward)))
	return geoArea{s.center.long - long, s.center.long + long, s.center.lat - lat, s.center.lat + lat}
}

// steps is how small boxes may be for nine of them to cover a radius of so many metres.
func geoStepsFor(metres, lat float64) int {
	if metres == 0 {
		return geoSteps
	}
	steps := 1
	for ; metres < mercator; metres *= 2 {
		steps++
	}
	steps -= 2
	switch lat = math.Abs(lat); {
	case lat > 80:
		steps -= 2
	case lat > 66:
		steps--
	}
	return max(1, min(steps, geoSteps))
}

// boxes gives the box of the centre and those around it that the shape may reach into, in the order in which Redis
// searches them. What is not needed is none.
func (s *geoShape) boxes() [9]geoBox {
	metres := s.radius
	if s.box {
		metres = math.Sqrt(float64(s.width/2*(s.width/2)) + float64(s.height/2*(s.height/2)))
	}
	steps := geoStepsFor(metres*s.unit, s.center.lat)
	in := s.bounds()
	center := s.center.encode(steps, maxLat)
	if steps > 1 && (center.move(0, 1).area().maxLat < in.maxLat || center.move(0, -1).area().minLat > in.minLat ||
		center.move(1, 0).area().maxLong < in.maxLong || center.move(-1, 0).area().minLong > in.minLong) {
		steps--
		center = s.center.encode(steps, maxLat)
	}
	west, east, south, north := true, true, true, true
	if steps >= 2 {
		a := center.area()
		south, north = a.minLat >= in.minLat, a.maxLat <= in.maxLat
		west, east = a.minLong >= in.minLong, a.maxLong <= in.maxLong
	}
	found := [9]geoBox{0: center}
	for i, to := range [...]struct {
		east, north int
		needed      bool
	}{
		{0, 1, north}, {0, -1, south}, {1, 0, east}, {-1, 0, west},
		{1, 1, north && east}, {-1, 1, north && west}, {1, -1, south && east}, {-1, -1, south && west},
	} {
		if to.needed {
			found[i+1] = center.move(to.east, to.north)
		}
	}
	return found
}
