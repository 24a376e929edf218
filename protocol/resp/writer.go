// HOT PATH

package resp

import (
	"math"
	"strconv"
)

// AppendOK appends +OK.
func AppendOK(b []byte) []byte { return append(b, "+OK\r\n"...) }

// AppendSimple appends a simple string; s must not hold CR or LF.
func AppendSimple(b []byte, s string) []byte {
	b = append(b, '+')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendError appends an error. s starts with its code, "ERR …"; line breaks in it become spaces.
func AppendError(b []byte, s string) []byte {
	b = append(b, '-')
	for i := range len(s) {
		if c := s[i]; c == '\r' || c == '\n' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return append(b, '\r', '\n')
}

// AppendInt appends an integer.
func AppendInt(b []byte, v int64) []byte { return appendHeader(b, ':', v) }

// AppendBulk appends a bulk string.
func AppendBulk(b, v []byte) []byte {
	b = appendHeader(b, '$', int64(len(v)))
	b = append(b, v...)
	return append(b, '\r', '\n')
}

// AppendBulkString is AppendBulk for a string.
func AppendBulkString(b []byte, v string) []byte {
	b = appendHeader(b, '$', int64(len(v)))
	b = append(b, v...)
	return append(b, '\r', '\n')
}

// AppendBulkInt appends v as a bulk string of decimal digits.
func AppendBulkInt(b []byte, v int64) []byte {
	var digits [20]byte
	return AppendBulk(b, strconv.AppendInt(digits[:0], v, 10))
}

// AppendNull appends the null of proto: $-1 in RESP2.
func AppendNull(b []byte, proto int) []byte {
	if proto >= 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

// AppendNullArray appends a null where RESP2 expects an array.
func AppendNullArray(b []byte, proto int) []byte {
	if proto >= 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "*-1\r\n"...)
}

// AppendArray opens an array of n elements.
func AppendArray(b []byte, n int) []byte { return appendHeader(b, '*', int64(n)) }

// AppendMap opens a map of n pairs, in RESP2 an array of 2n elements.
func AppendMap(b []byte, n, proto int) []byte {
	if proto >= 3 {
		return appendHeader(b, '%', int64(n))
	}
	return appendHeader(b, '*', int64(2*n))
}

// AppendSet opens a set of n elements, in RESP2 an array.
func AppendSet(b []byte, n, proto int) []byte {
	if proto >= 3 {
		return appendHeader(b, '~', int64(n))
	}
	return appendHeader(b, '*', int64(n))
}

// AppendPush opens an out-of-band message of n elements, in RESP2 an array.
func AppendPush(b []byte, n, proto int) []byte {
	if proto >= 3 {
		return appendHeader(b, '>', int64(n))
	}
	return appendHeader(b, '*', int64(n))
}

// AppendDouble appends a floating-point number, in RESP2 as a bulk string.
func AppendDouble(b []byte, v float64, proto int) []byte {
	var text [32]byte
	var s []byte
	switch {
	case math.IsInf(v, 1):
		s = append(text[:0], "inf"...)
	case math.IsInf(v, -1):
		s = append(text[:0], "-inf"...)
	case math.IsNaN(v):
		s = append(text[:0], "nan"...)
	case v == math.Trunc(v) && math.Abs(v) < 1<<53 && (v != 0 || !math.Signbit(v)):
		s = strconv.AppendInt(text[:0], int64(v), 10)
	default:
		s = strconv.AppendFloat(text[:0], v, 'g', 17, 64)
	}
	if proto < 3 {
		return AppendBulk(b, s)
	}
	b = append(b, ',')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendBool appends a boolean, in RESP2 the integers 1 and 0.
func AppendBool(b []byte, v bool, proto int) []byte {
	switch {
	case proto >= 3 && v:
		return append(b, "#t\r\n"...)
	case proto >= 3:
		return append(b, "#f\r\n"...)
	case v:
		return append(b, ":1\r\n"...)
	}
	return append(b, ":0\r\n"...)
}

// AppendVerbatim appends text with its three-letter format ("txt", "mkd"), in RESP2 as a bulk string.
func AppendVerbatim(b []byte, format, s string, proto int) []byte {
	if proto < 3 {
		return AppendBulkString(b, s)
	}
	b = appendHeader(b, '=', int64(len(s)+4))
	b = append(b, format...)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendCommand appends args as a client sends them: an array of bulk strings.
func AppendCommand(b []byte, args [][]byte) []byte {
	b = AppendArray(b, len(args))
	for _, a := range args {
		b = AppendBulk(b, a)
	}
	return b
}

func appendHeader(b []byte, kind byte, n int64) []byte {
	if n >= 0 && n < 10 {
		return append(b, kind, byte('0'+n), '\r', '\n')
	}
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}
