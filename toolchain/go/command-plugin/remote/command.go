// Package remote holds the resource command:remote:Command. The framework takes the token from the package's and the
// type's name.
package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	provider "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"
)

// Command runs a command on a remote host at each step of its life.
// It has no Read and no Diff: a refresh sees nothing, and any changed input is an update.
type Command struct{}

// Logging says which of a command's outputs are shown while it runs.
type Logging string

const (
	logStdout Logging = "stdout"
	logStderr Logging = "stderr"
	logBoth   Logging = "stdoutAndStderr"
	logNone   Logging = "none"
)

// Values lists the schema's enum.
func (Logging) Values() []infer.EnumValue[Logging] {
	return []infer.EnumValue[Logging]{
		{Name: "stdout", Value: logStdout, Description: "Capture stdout in logs but not stderr"},
		{Name: "stderr", Value: logStderr, Description: "Capture stderr in logs but not stdout"},
		{Name: "stdoutAndStderr", Value: logBoth, Description: "Capture stdout and stderr in logs"},
		{Name: "none", Value: logNone, Description: "Capture no logs"},
	}
}

// Inputs are what a program gives.
type Inputs struct {
	Create                 *string            `pulumi:"create,optional"`
	Update                 *string            `pulumi:"update,optional"`
	Delete                 *string            `pulumi:"delete,optional"`
	Triggers               *[]any             `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Connection             *Connection        `pulumi:"connection" provider:"secret"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

// Annotate names the one default.
func (i *Inputs) Annotate(a infer.Annotator) { a.SetDefault(&i.AddPreviousOutputInEnv, true) }

// State is what is kept of a command: its inputs, and the output of the last one that ran.
type State struct {
	Inputs
	Stdout string `pulumi:"stdout"`
	Stderr string `pulumi:"stderr"`
}

// WireDependencies keeps a secret secret, and an unknown unknown, from each input to its copy in the state.
// What a command prints is only known to be new when one of the commands has changed, as in the official plugin.
func (*Command) WireDependencies(f infer.FieldSelector, in *Inputs, out *State) {
	f.OutputField(&out.Connection).DependsOn(f.InputField(&in.Connection))
	f.OutputField(&out.Environment).DependsOn(f.InputField(&in.Environment))
	f.OutputField(&out.Triggers).DependsOn(f.InputField(&in.Triggers))
	f.OutputField(&out.Create).DependsOn(f.InputField(&in.Create))
	f.OutputField(&out.Update).DependsOn(f.InputField(&in.Update))
	f.OutputField(&out.Delete).DependsOn(f.InputField(&in.Delete))
	f.OutputField(&out.Stdin).DependsOn(f.InputField(&in.Stdin))
	f.OutputField(&out.Logging).DependsOn(f.InputField(&in.Logging))
	f.OutputField(&out.AddPreviousOutputInEnv).DependsOn(f.InputField(&in.AddPreviousOutputInEnv))
	f.OutputField(&out.Stdout).DependsOn(f.InputField(&in.Create), f.InputField(&in.Update))
	f.OutputField(&out.Stderr).DependsOn(f.InputField(&in.Create), f.InputField(&in.Update))
}

// Create runs create. A failure leaves no resource behind.
func (*Command) Create(
	ctx context.Context, req infer.CreateRequest[Inputs],
) (infer.CreateResponse[State], error) {
	none := infer.CreateResponse[State]{}
	id, err := resource.NewUniqueHex(req.Name, 8, 0)
	if err != nil {
		return none, err
	}
	state := State{Inputs: req.Inputs}
	if !req.DryRun {
		if err := state.run(ctx, req.Inputs.Create); err != nil {
			return none, err
		}
	}
	return infer.CreateResponse[State]{ID: id, Output: state}, nil
}

// Update runs update, or create where there is none. A failure leaves the old state.
func (*Command) Update(
	ctx context.Context, req infer.UpdateRequest[Inputs, State],
) (infer.UpdateResponse[State], error) {
	state := State{Inputs: req.Inputs, Stdout: req.State.Stdout, Stderr: req.State.Stderr}
	if !req.DryRun {
		command := req.Inputs.Update
		if command == nil {
			command = req.Inputs.Create
		}
		if err := state.run(ctx, command); err != nil {
			return infer.UpdateResponse[State]{}, err
		}
	}
	return infer.UpdateResponse[State]{Output: state}, nil
}

// Delete runs delete of the last state, over that state's connection.
func (*Command) Delete(ctx context.Context, req infer.DeleteRequest[State]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, req.State.run(ctx, req.State.Delete)
}

// run runs a command, if there is one, over a connection of its own, and keeps its output in the state.
func (s *State) run(ctx context.Context, command *string) error {
	if command == nil {
		return nil
	}
	client, err := s.Connection.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	// A cancelled run must not wait for a command that may never return.
	defer context.AfterFunc(ctx, func() { client.Close() })()

	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	if err := s.setEnvironment(ctx, session); err != nil {
		return err
	}
	if stdin := or(s.Stdin, ""); stdin != "" {
		session.Stdin = strings.NewReader(stdin)
	}

	logger := provider.GetLogger(ctx)
	log := &lines{line: logger.Info}
	var stdout, stderr bytes.Buffer
	both := &shared{}
	outputs := func(own *bytes.Buffer, shown bool) io.Writer {
		writers := []io.Writer{own, both}
		if shown {
			writers = append(writers, log)
		}
		return io.MultiWriter(writers...)
	}
	logging := or(s.Logging, logBoth)
	session.Stdout = outputs(&stdout, logging == logStdout || logging == logBoth)
	session.Stderr = outputs(&stderr, logging == logStderr || logging == logBoth)

	err = session.Run(*command)
	log.flush()
	if err != nil {
		return fmt.Errorf("%w: running %q:\n%s", err, *command, both.String())
	}
	s.Stdout = strings.TrimSuffix(stdout.String(), "\n")
	s.Stderr = strings.TrimSuffix(stderr.String(), "\n")
	return nil
}

// setEnvironment passes variables as SSH does, which a server takes only when its AcceptEnv names them: a refusal of
// what the program asked for is an error, one of the previous output only a warning.
func (s *State) setEnvironment(ctx context.Context, session *ssh.Session) error {
	const advice = "unable to set %q: %w. An SSH server takes only the variables that its AcceptEnv names"
	for name, value := range or(s.Environment, nil) {
		if err := session.Setenv(name, value); err != nil {
			return fmt.Errorf(advice, name, err)
		}
	}
	if !or(s.AddPreviousOutputInEnv, true) {
		return nil
	}
	for name, value := range map[string]string{
		"PULUMI_COMMAND_STDOUT": s.Stdout,
		"PULUMI_COMMAND_STDERR": s.Stderr,
	} {
		if value == "" {
			continue
		}
		if err := session.Setenv(name, value); err != nil {
			provider.GetLogger(ctx).Warning(fmt.Errorf(advice, name, err).Error())
		}
	}
	return nil
}

// shared is a buffer for both outputs of a command, which arrive concurrently.
type shared struct {
	sync.Mutex
	bytes.Buffer
}

func (w *shared) Write(p []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	return w.Buffer.Write(p)
}

// lines passes on what is written to it a line at a time, as soon as each is whole.
type lines struct {
	sync.Mutex
	line func(string)
	rest []byte
}

func (w *lines) Write(p []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.line(strings.TrimSuffix(string(line), "\r"))
		w.rest = rest
	}
}

func (w *lines) flush() {
	w.Lock()
	defer w.Unlock()
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}
