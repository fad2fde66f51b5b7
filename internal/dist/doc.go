// Command dist knows two things that packages need, and its folder holds the rest of what makes
// them:
//
//	make build       -> bin/footbridge, ...                    \
//	extras.sh        -> bin/extras/: manual pages, completions  |   place.sh: make install, make uninstall
//	*.service.in, *.socket                                     /    |
//	                                                                v
//	dist version     -> 1.2.3~rc.1                       dist.sh: a tree for each architecture
//	dist notices     -> THIRD-PARTY                                 |
//	                                                                v
//	nfpm*.yaml, deb-*, copyright, apparmor               bin/dist/: .deb, .rpm, .tar.gz, SHA256SUMS
//
// notices lists the licences of all that is linked into the programs, as they are in the modules'
// own files. version turns git's description of a commit into one that package managers order
// as the commits were made.
//
// The same commit gives the same bytes, whenever and wherever it is built with the same Go: no path
// (-trimpath), no date but the commit's (SOURCE_DATE_EPOCH), files in the order of their names,
// everything root's. nfpm is a program of other modules, in nfpm.mod.
//
// # Lifetime
//
// It ends with what it prints.
//
// # Concurrency
//
// There is none.
package main
