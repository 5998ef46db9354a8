package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	provider "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Defaults of the official plugin. The Node.js package fills them in as well, so that they stand in the state.
const (
	defaultUser           = "root"
	defaultPort           = 22
	defaultDialErrorLimit = 10
	defaultPerDialTimeout = 15
)

// endpoint is what a host and a jump host have in common.
type endpoint struct {
	User               *string  `pulumi:"user,optional"`
	Password           *string  `pulumi:"password,optional"`
	Host               *string  `pulumi:"host"`
	HostKey            *string  `pulumi:"hostKey,optional"`
	Port               *float64 `pulumi:"port,optional"`
	PrivateKey         *string  `pulumi:"privateKey,optional"`
	PrivateKeyPassword *string  `pulumi:"privateKeyPassword,optional"`
	AgentSocketPath    *string  `pulumi:"agentSocketPath,optional"`
	DialErrorLimit     *int     `pulumi:"dialErrorLimit,optional"`
	PerDialTimeout     *int     `pulumi:"perDialTimeout,optional"`
}

// Connection says how to reach a host, directly or through one jump host.
type Connection struct {
	endpoint
	Proxy *ProxyConnection `pulumi:"proxy,optional"`
}

// ProxyConnection says how to reach the jump host.
type ProxyConnection struct{ endpoint }

// Annotate is called by the framework on each type itself, so both name the defaults of their common part.
func (c *Connection) Annotate(a infer.Annotator) { annotate(a, &c.endpoint) }

// Annotate: as above.
func (c *ProxyConnection) Annotate(a infer.Annotator) { annotate(a, &c.endpoint) }

func annotate(a infer.Annotator, e *endpoint) {
	a.SetDefault(&e.User, defaultUser)
	a.SetDefault(&e.Port, defaultPort)
	a.SetDefault(&e.DialErrorLimit, defaultDialErrorLimit)
	a.SetDefault(&e.PerDialTimeout, defaultPerDialTimeout)
}

func (e *endpoint) address() string {
	return net.JoinHostPort(*e.Host, strconv.Itoa(int(or(e.Port, defaultPort))))
}

// config builds the SSH client's configuration. Errors name the field, never what stands in it: keys and passwords
// must not end up on a terminal.
func (e *endpoint) config() (*ssh.ClientConfig, error) {
	config := &ssh.ClientConfig{
		User:    or(e.User, defaultUser),
		Timeout: time.Duration(or(e.PerDialTimeout, defaultPerDialTimeout)) * time.Second,
		// As the official plugin: without a key to expect, any is taken. Our program always gives one.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}
	if e.HostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.HostKey))
		if err != nil {
			return nil, fmt.Errorf("failed to parse host key: %w", err)
		}
		// The kinds of keys asked for are left at Go's own order, ECDSA before RSA before Ed25519: a server that has
		// several shows its first in that order, and only that one can be pinned. Asking for the pinned kind would be
		// kinder, but is not known of the official plugin, and the program must work with either.
		config.HostKeyCallback = ssh.FixedHostKey(key)
	}
	if e.PrivateKey != nil {
		signer, err := parsePrivateKey(*e.PrivateKey, e.PrivateKeyPassword)
		if err != nil {
			return nil, err
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if e.Password != nil {
		password := *e.Password
		config.Auth = append(config.Auth, ssh.Password(password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = password
				}
				return answers, nil
			}))
	}
	// An agent that is named must be there; one that the environment merely offers is asked last.
	if socket := or(e.AgentSocketPath, os.Getenv("SSH_AUTH_SOCK")); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, fmt.Errorf("connecting to the SSH agent: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	}
	return config, nil
}

func parsePrivateKey(key string, password *string) (ssh.Signer, error) {
	if password != nil {
		return ssh.ParsePrivateKeyWithPassphrase([]byte(key), []byte(*password))
	}
	return ssh.ParsePrivateKey([]byte(key))
}

// dial connects to the host. The jump host and the host behind it each have their own limit of failures.
// The connection ends with the context, so that a cancelled run doesn't wait for a command that never returns.
func (c *Connection) dial(ctx context.Context) (*ssh.Client, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	if c.Proxy == nil {
		return retry(ctx, "Dial", c.DialErrorLimit, func() (*ssh.Client, error) {
			return ssh.Dial("tcp", c.address(), config)
		})
	}
	proxyConfig, err := c.Proxy.config()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	proxy, err := retry(ctx, "Dial proxy", c.Proxy.DialErrorLimit, func() (*ssh.Client, error) {
		return ssh.Dial("tcp", c.Proxy.address(), proxyConfig)
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	client, err := retry(ctx, "Dial", c.DialErrorLimit, func() (*ssh.Client, error) {
		conn, err := proxy.Dial("tcp", c.address())
		if err != nil {
			return nil, err
		}
		transport, channels, requests, err := ssh.NewClientConn(conn, c.address(), config)
		if err != nil {
			conn.Close()
			return nil, err
		}
		return ssh.NewClient(transport, channels, requests), nil
	})
	if err != nil {
		proxy.Close()
		return nil, err
	}
	go func() { client.Wait(); proxy.Close() }()
	return client, nil
}

// retry dials until it succeeds or has failed more often than the limit; -1 is no limit. Every kind of failure counts,
// a refused key too. The waits are the official plugin's: 0.1 s, each half as long again, 5 s at most.
func retry(
	ctx context.Context, what string, limit *int, dial func() (*ssh.Client, error),
) (*ssh.Client, error) {
	most := or(limit, defaultDialErrorLimit)
	wait := 100 * time.Millisecond
	for failures := 1; ; failures++ {
		client, err := dial()
		if err == nil {
			return client, nil
		}
		if most >= 0 && failures > most {
			return nil, fmt.Errorf("after %d failed attempts: %w", failures, err)
		}
		total := strconv.Itoa(most)
		if most < 0 {
			total = "inf"
		}
		provider.GetLogger(ctx).InfoStatusf("%s %d/%s failed: retrying", what, failures, total)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
		wait = min(wait*3/2, 5*time.Second)
	}
}

func or[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}
