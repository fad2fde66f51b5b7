// Package share divides what the whole process has only so much of, such as
// descriptors and ports, among containers that may each want all of it.
//
//	limit |######## one ########|#### two ####|## three ##| left | an eighth, for
//	                                            one more for three: 2 < left      | those with few
//
// Who asks gets one more as long as he has fewer than are left. A container
// alone can so take almost half, two together two thirds, without anybody being
// counted beforehand. Each takes about half of what the ones before have left, so
// after a dozen greedy ones nothing would be: therefore an eighth is only for those
// that have few.
//
// # Lifetime
//
// A [Pool] is a number and needs no closing. What was taken is to be
// given back.
//
// # Concurrency
//
// A Pool may be used from any goroutine and never waits.
package share
