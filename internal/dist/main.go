package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: dist notices PACKAGE... | dist version DESCRIPTION SECONDS")

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "version":
		seconds, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return fmt.Errorf("the time of the commit, %q, is not in seconds since 1970: %w", args[2], err)
		}
		version, err := packageVersion(args[1], time.Unix(seconds, 0))
		if err != nil {
			return err
		}
		fmt.Println(version)
		return nil
	case len(args) >= 2 && args[0] == "notices":
		linked, err := linkedPackages(args[1:])
		if err != nil {
			return err
		}
		components, err := collect(linked)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(os.Stdout)
		if err := writeNotices(out, components); err != nil {
			return err
		}
		return out.Flush()
	}
	return errUsage
}
