// Package tests shows what footbridge does, from the outside: every script below scripts/ is one sentence about the
// program, told in a world of its own (see package world) by the commands that a user would type.
//
//	scripts/*.txtar --> testscript --> footbridge, host, admin, client, internet --> a world
//	                                   wait-for, status, terminal, json, nothing-left
//
// A script's first line names the behaviour it shows. The commands are described at scriptCommands.
//
// # Lifetime
//
// TestMain starts the test binary again as an ordinary user in a folder of its own; a world lives as long as its
// script. Nothing outlives the test run.
//
// # Concurrency
//
// Scripts run in parallel and share nothing but the binary under test.
package tests
