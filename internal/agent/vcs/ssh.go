package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gocache.dev/operator/internal/domain/hosts"
)

const (
	sshPort = "22"
	// loginTimeout bounds the making of a connection and the login.
	loginTimeout = 30 * time.Second
	// sshFailed is the exit code of OpenSSH for errors of its own.
	sshFailed = 255
)

// ssh runs a command at a server, as git calls OpenSSH: options, a host with or
// without a user, and the command.
func (a Access) ssh(ctx context.Context, args []string, p Process) (code int, err error) {
	user, host, port, command, err := parseSSH(args)
	if err != nil {
		return sshFailed, err
	}
	list, err := hosts.Parse(a.Hosts)
	if err != nil {
		return sshFailed, err
	}
	if !list.MatchPort(host, port) {
		return sshFailed, fmt.Errorf("the identity may not be used for %s: the annotation of the Secret does not list it", net.JoinHostPort(host, port))
	}
	keys, err := a.keys()
	if err != nil {
		return sshFailed, err
	}
	address := net.JoinHostPort(host, port)
	config, err := keys.SSHConfig(user, address)
	if err != nil {
		return sshFailed, err
	}
	client, err := login(ctx, address, config, p.Now())
	if err != nil {
		return sshFailed, fmt.Errorf("log in to %s: %w", address, err)
	}
	defer func() { _ = client.Close() }() // the command is over
	session, err := client.NewSession()
	if err != nil {
		return sshFailed, fmt.Errorf("begin a session with %s: %w", address, err)
	}
	if version := p.Getenv("GIT_PROTOCOL"); version != "" {
		_ = session.Setenv("GIT_PROTOCOL", version) // servers may refuse it; then the old version is used
	}
	session.Stdout, session.Stderr = p.Out, p.Errors
	stdin, err := session.StdinPipe()
	if err != nil {
		return sshFailed, err
	}
	go func() { // ends with the program: the command may end before its input does
		_, _ = io.Copy(stdin, p.In)
		_ = stdin.Close()
	}()
	if err = session.Run(command); err == nil {
		return 0, nil
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok && exit.Signal() == "" {
		return exit.ExitStatus(), nil
	}
	return sshFailed, fmt.Errorf("run %q at %s: %w", command, address, err)
}

// login connects and logs in within the time for it.
func login(ctx context.Context, address string, config *ssh.ClientConfig, now time.Time) (*ssh.Client, error) {
	conn, err := (&net.Dialer{Timeout: loginTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(now.Add(2 * loginTimeout))
	if err == nil {
		var (
			c        ssh.Conn
			channels <-chan ssh.NewChannel
			requests <-chan *ssh.Request
		)
		if c, channels, requests, err = ssh.NewClientConn(conn, address, config); err == nil {
			return ssh.NewClient(c, channels, requests), conn.SetDeadline(time.Time{})
		}
	}
	return nil, errors.Join(err, conn.Close())
}

// parseSSH reads arguments.
func parseSSH(args []string) (user, host, port, command string, err error) {
	port = sshPort
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case (args[0] == "-p" || args[0] == "-o") && len(args) > 1: // of -o only what git needs is done
			if args[0] == "-p" {
				port = args[1]
			}
			args = args[2:]
		case args[0] == "-4" || args[0] == "-6" || args[0] == "--":
			args = args[1:]
		default:
			return "", "", "", "", fmt.Errorf("the option %q is not supported", args[0])
		}
	}
	if len(args) < 2 {
		return "", "", "", "", errors.New("a host or a command is missing")
	}
	user, host, ok := strings.Cut(args[0], "@")
	if !ok {
		user, host = "", args[0]
	}
	return user, strings.Trim(host, "[]"), port, strings.Join(args[1:], " "), nil
}
