// Package pressure knows how much memory this process may use and when that gets short, and lets the cache give way before
// the kernel kills the process.
//
//	group.go     Group: the limits, the usage and the stalls of the process's control group, version 2 or 1, or of the machine
//	processor.go Processor: whether the kernel holds the process back
//	governor.go  Governor: lowers the ceiling of a cache while memory is short, and lifts it again
package pressure
