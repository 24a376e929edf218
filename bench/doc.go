// Package bench runs whole-system workloads against real rivals and reports ratios. It measures; it is not a test.
package bench
