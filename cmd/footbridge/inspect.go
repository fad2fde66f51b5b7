package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

func inspectCommand(c *cli) *cobra.Command {
	var format, kind string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Return low-level information on containers and networks",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			get, ok := map[string]getter{"": getAny, "container": getContainer, "network": getNetwork}[kind]
			if !ok {
				return fmt.Errorf("%q is not a valid value for --type: it is container or network", kind)
			}
			return inspectAll(cmd.Context(), c, args, format, get)
		},
		ValidArgsFunction: completeContainers(c, -1, true),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	cmd.Flags().StringVar(&kind, "type", "", "Only inspect objects of the given type: container or network")
	return cmd
}

const inspectFormatHelp = "Format output: 'json' or a Go template"

func containerInspectCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Display detailed information on one or more containers",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inspectAll(cmd.Context(), c, args, format, getContainer)
		},
		ValidArgsFunction: completeContainers(c, -1, true),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	return cmd
}

// getter finds one object.
type getter func(ctx context.Context, client *api.Client, name string) (any, error)

func getContainer(ctx context.Context, client *api.Client, name string) (any, error) {
	return client.ContainerInspectAll(ctx, name)
}

func getNetwork(ctx context.Context, client *api.Client, name string) (any, error) {
	return client.NetworkInspect(ctx, name, api.NetworkInspectOptions{})
}

// getAny finds a container or else a network.
func getAny(ctx context.Context, client *api.Client, name string) (any, error) {
	found, err := getContainer(ctx, client, name)
	if !errdefs.IsNotFound(err) {
		return found, err
	}
	found, err = getNetwork(ctx, client, name)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("No such object: %s", name) //nolint:staticcheck // Docker's wording
	}
	return found, err
}

// inspectAll prints every object that is there, and the errors of those that
// are not.
func inspectAll(ctx context.Context, c *cli, names []string, format string, get getter) error {
	var print func(found []any) (string, error)
	switch format {
	case "", "json":
		print = func(found []any) (string, error) {
			for i, v := range found {
				found[i] = withFlatSettings(v)
			}
			if format == "json" {
				text, err := jsonText(found)
				return text + "\n", err
			}
			text, err := json.MarshalIndent(found, "", "    ")
			return string(text) + "\n", err
		}
	default:
		t, err := parseTemplate(format)
		if err != nil {
			return &statusError{code: exitTemplate, err: err}
		}
		print = func(found []any) (string, error) {
			var b strings.Builder
			for _, v := range found {
				text, err := executeInspect(t, v)
				if err != nil {
					return b.String(), err
				}
				b.WriteString(text + "\n")
			}
			return b.String(), nil
		}
	}

	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	found := []any{} // prints as [], not null
	missing := each(names, func(name string) error {
		v, err := get(ctx, client, name)
		if err == nil {
			found = append(found, v)
		}
		return err
	})
	text, err := print(found)
	fmt.Fprint(c.stdout, text)
	if err != nil {
		return err
	}
	return missing
}
