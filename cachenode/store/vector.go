// HOT PATH

package store

import "unsafe"

// vector is a sequence in pieces: it grows and shrinks by one of them at a time, so that no push copies more than the first.
type vector[T any] struct {
	first []T // doubles up to a piece
	rest  *pieces[T]
}

type pieces[T any] struct {
	n    int // elements in them
	list []*[piece]T
}

// piece elements of 4, 8, 16 or 24 bytes fill a class of the allocator, with the 8 bytes that it keeps for itself.
const piece = 255

func (v *vector[T]) len() int {
	if v.rest != nil {
		return piece + v.rest.n
	}
	return len(v.first)
}

// at is element i, valid until the next push or pop.
func (v *vector[T]) at(i int) *T {
	if i < len(v.first) {
		return &v.first[i]
	}
	i -= piece
	return &v.rest.list[uint(i)/piece][uint(i)%piece]
}

func (v *vector[T]) push(e T) {
	if n := len(v.first); n < piece {
		if n == cap(v.first) {
			v.first = append(make([]T, 0, min(max(minPiece, 2*n), piece)), v.first...)
		}
		v.first = append(v.first, e)
		return
	}
	if v.rest == nil {
		v.rest = &pieces[T]{}
	}
	r := v.rest
	if r.n == len(r.list)*piece {
		r.list = append(r.list, new([piece]T))
	}
	r.list[r.n/piece][r.n%piece] = e
	r.n++
}

const minPiece = 4

// pop removes the last element. Behind the first piece it keeps the room of one more than there has to be, for the next push.
func (v *vector[T]) pop() {
	var zero T
	*v.at(v.len() - 1) = zero
	r := v.rest
	if r == nil || r.n == 0 {
		v.rest = nil
		v.first = v.first[:len(v.first)-1]
		switch n := len(v.first); {
		case n == 0:
			v.first = nil
		case n < cap(v.first)/4 && cap(v.first) > minPiece:
			v.first = append(make([]T, 0, cap(v.first)/2), v.first...)
		}
		return
	}
	r.n--
	if last := len(r.list) - 1; r.n <= (last-1)*piece {
		r.list[last] = nil
		r.list = r.list[:last]
		if last < cap(r.list)/4 {
			r.list = append(make([]*[piece]T, 0, cap(r.list)/2), r.list...)
		}
	}
}

// size is what the vector occupies besides itself.
func (v *vector[T]) size() int {
	var e [piece]T
	n := class(cap(v.first) * int(unsafe.Sizeof(e[0])))
	if r := v.rest; r != nil {
		n += class(int(unsafe.Sizeof(*r))) + class(8*cap(r.list)) + len(r.list)*class(int(unsafe.Sizeof(e)))
	}
	return n
}
