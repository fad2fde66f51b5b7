// Package share divides what the whole process has only so much of, such as
// descriptors and ports, among containers that may each want all of it.
//
//	limit |######## one ########|#### two ####|## three ##| left |
//	                                            one more for three: 2 < left
//
// Who asks gets one more as long as he has fewer than are left. A container
// alone can so take half, two together two thirds; for one more there is always as
// much left as the greediest has, without anybody being counted beforehand.
//
// **Lifetime**: a [Pool] is a number and needs no closing. What was taken is to be
// given back.
//
// **Concurrency**: a Pool may be used from any goroutine and never waits.
package share
