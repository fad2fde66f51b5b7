package slirp

import (
	"fmt"
	"slices"
	"strings"
)

// option is one of the command line's, as getopt_long(3) knows them, with what it does.
type option struct {
	long  string
	short byte                          // 0 = none
	value bool                          // it takes one
	warns string                        // what is said of its use; "" = nothing
	set   func(p *parser, value string) // may leave an error in p; nil = there is nothing to set
}

// scan reads a command line as GNU getopt_long does: options anywhere before "--", long ones
// by any unambiguous beginning. take gets each of them in turn; its first error ends it.
// Errors of scan's own have getopt's words.
func scan(program string, args []string, take func(o *option, value string) error) (positional []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(positional, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = scanLong(program, arg, args, take)
		case len(arg) > 1 && arg[0] == '-':
			args, err = scanShort(program, arg[1:], args, take)
		default:
			positional = append(positional, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	return positional, nil
}

func scanLong(program, arg string, args []string, take func(*option, string) error) ([]string, error) {
	name, value, given := strings.Cut(arg[2:], "=")
	o, err := findLong(program, name)
	if err != nil {
		return nil, err
	}
	switch {
	case given && !o.value:
		return nil, misuse("%s: option '--%s' doesn't allow an argument", program, o.long)
	case !given && o.value && len(args) == 0:
		return nil, misuse("%s: option '--%s' requires an argument", program, o.long)
	case !given && o.value:
		value, args = args[0], args[1:]
	}
	return args, take(o, value)
}

func findLong(program, name string) (*option, error) {
	var found []*option
	for i := range options {
		o := &options[i]
		if o.long == name {
			return o, nil
		}
		if strings.HasPrefix(o.long, name) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return nil, misuse("%s: unrecognized option '--%s'", program, name)
	case 1:
		return found[0], nil
	}
	var b strings.Builder
	for _, o := range found {
		fmt.Fprintf(&b, " '--%s'", o.long)
	}
	return nil, misuse("%s: option '--%s' is ambiguous; possibilities:%s", program, name, b.String())
}

func scanShort(program, letters string, args []string, take func(*option, string) error) ([]string, error) {
	for len(letters) > 0 {
		i := slices.IndexFunc(options, func(o option) bool { return o.short == letters[0] })
		if i < 0 {
			return nil, misuse("%s: invalid option -- '%c'", program, letters[0])
		}
		o, value := &options[i], ""
		letters = letters[1:]
		if o.value {
			if letters == "" {
				if len(args) == 0 {
					return nil, misuse("%s: option requires an argument -- '%c'", program, o.short)
				}
				letters, args = args[0], args[1:]
			}
			value, letters = letters, ""
		}
		if err := take(o, value); err != nil {
			return nil, err
		}
	}
	return args, nil
}
