package gitserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Key makes a key for ssh: to sign with, and as a file without a passphrase.
func Key() (ssh.Signer, []byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, nil, err
	}
	return signer, pem.EncodeToMemory(block), nil
}

// KnownHost is a line of a known_hosts file for a server; hashed: without its
// name in it.
func KnownHost(address string, key ssh.PublicKey, hashed bool) []byte {
	name := knownhosts.Normalize(address)
	if hashed {
		name = knownhosts.HashHostname(name)
	}
	return []byte(knownhosts.Line([]string{name}, key) + "\n")
}

// ServeSSH lets one user with one key read repositories over ssh, each at its
// directory, until the listener is closed.
func ServeSSH(ctx context.Context, listener net.Listener, host ssh.Signer, login string, user ssh.PublicKey) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != login || string(key.Marshal()) != string(user.Marshal()) {
			return nil, ssh.ErrNoAuth
		}
		return nil, nil //nolint:nilnil // no restrictions
	}}
	config.AddHostKey(host)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go session(ctx, conn, config)
	}
}

// session runs git-upload-pack for each channel.
func session(ctx context.Context, conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type != "exec" {
					continue
				}
				var command struct{ Line string }
				_ = ssh.Unmarshal(r.Payload, &command)
				dir := strings.Trim(strings.TrimPrefix(command.Line, "git-upload-pack "), "'")
				cmd := exec.CommandContext(ctx, "git", "upload-pack", dir) //nolint:gosec // of a test
				cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
				status := uint32(0)
				if err := cmd.Run(); err != nil {
					status = 128
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
				_ = channel.Close()
			}
		}()
	}
}
