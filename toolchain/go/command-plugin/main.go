// The stand-in for Pulumi's command plugin, for machines that can't download the official one.
// It serves command:remote:Command with the schema of release 1.2.1 and behaves like it; test/plugin states what that
// means and holds for either.
package main

import (
	"context"
	"fmt"
	"os"

	provider "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"adsl-bonding/toolchain/command-plugin/remote"
)

// version is set by the linker, from toolchain/versions.ts.
var version = "0.0.0"

func main() {
	p, err := infer.NewProviderBuilder().
		WithDisplayName("Command (stand-in)").
		WithDescription("Runs commands on remote hosts.").
		WithResources(infer.Resource(&remote.Command{})).
		Build()
	if err == nil {
		err = provider.RunProvider(context.Background(), "command", version, p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
