package store

// sizeClasses are those of the Go allocator (runtime/sizeclasses.go): charging them is charging the truth, and filling
// a class to its end costs nothing.
var sizeClasses = [...]uint16{
	0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448,
	480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096,
	4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072,
	20480, 21760, 24576, 27264, 28672, 32768,
}

// class rounds n up to what an allocation of n bytes occupies. Beyond the allocator's classes it rounds to an eighth of
// the size, and never less than a page, so that a value that grows bit by bit is moved a logarithmic number of times.
func class(n int) int {
	if n > 32<<10 {
		step := 8 << 10
		for step*8 < n {
			step *= 2
		}
		return (n + step - 1) &^ (step - 1)
	}
	lo, hi := 0, len(sizeClasses)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if int(sizeClasses[mid]) < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return int(sizeClasses[lo])
}
