package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Keys of a Secret, and names of the files that it is mounted as.
const (
	// UsernameKey and the next are for https.
	UsernameKey = "username"
	// PasswordKey may also hold a token.
	PasswordKey = "password"
	// IdentityKey is a private key for ssh, without a passphrase.
	IdentityKey = "identity"
	// KnownHostsKey names the servers that ssh may connect to, in the format of
	// OpenSSH's file of that name.
	KnownHostsKey = "known_hosts"
	// CAKey holds certificates of authorities, in PEM format, that are trusted beside
	// the public ones where the credentials are sent. They are part of the Secret,
	// because an authority decides which server passes for a host: users who could name
	// one of theirs would get the credentials.
	CAKey = "ca.crt"
)

// Keys are those of the credentials.
func Keys() []string { return []string{UsernameKey, PasswordKey, IdentityKey, KnownHostsKey} }

// maxCredential bounds each of them.
const maxCredential = 1 << 20

// Credentials for a repository, by key. None is anonymous.
type Credentials map[string][]byte

// ReadCredentials reads a mounted Secret. Keys that it lacks are left out.
func ReadCredentials(dir string) (Credentials, error) { return ReadKeys(dir, Keys()...) }

// ReadKeys reads keys of a mounted Secret. Those that it lacks are left out.
func ReadKeys(dir string, keys ...string) (Credentials, error) {
	c := Credentials{}
	for _, key := range keys {
		name := filepath.Join(dir, key)
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCredential) {
			err = fmt.Errorf("%s: not a regular file of at most %d bytes", name, maxCredential)
		}
		if err == nil {
			c[key], err = os.ReadFile(name) //nolint:gosec // the caller names the directory
		}
		if err != nil {
			return nil, fmt.Errorf("reading credentials: %w", err)
		}
	}
	return c, nil
}

// Host returns the host of a repository's URL, with its port if it names one:
// where its credentials are sent to.
func Host(repository string) (string, error) {
	u, err := url.Parse(repository)
	if err != nil || u.Host == "" {
		return "", errors.New("the URL of the repository cannot be parsed") // which may hold a password
	}
	return u.Host, nil
}

// auth is what a URL's protocol makes of the credentials. The returned function
// removes what had to be written down for it.
func (c Credentials) auth(repository string) (transport.AuthMethod, func(), error) {
	u, err := url.Parse(repository)
	if err != nil {
		return nil, nil, errors.New("the URL of the repository cannot be parsed") // which may hold a password
	}
	nothing := func() {}
	switch u.Scheme {
	case "http", "https":
		if len(c) == 0 {
			return nil, nothing, nil
		}
		if u.Scheme == "http" {
			return nil, nil, errPlain
		}
		if len(c[PasswordKey]) == 0 {
			return nil, nil, fmt.Errorf("an %s URL needs the keys %s and %s in its Secret", u.Scheme, UsernameKey, PasswordKey)
		}
		// A Secret that is created from a file may have a line break at its end.
		return &http.BasicAuth{Username: text(c[UsernameKey]), Password: text(c[PasswordKey])}, nothing, nil
	case "ssh":
		return c.sshAuth(u)
	default:
		return nil, nil, fmt.Errorf("a repository is read over https, http or ssh, not %q", u.Scheme)
	}
}

// errPlain refuses what anyone between here and the server could read.
var errPlain = errors.New("credentials are not sent over http: use an https or ssh URL, or no Secret")

func text(b []byte) string { return strings.TrimRight(string(b), "\r\n") }

// sshAuth checks the server's key against the known ones, always.
func (c Credentials) sshAuth(u *url.URL) (transport.AuthMethod, func(), error) {
	config, remove, err := c.sshConfig(u.User.Username(), hostPort(u))
	if err != nil {
		return nil, nil, err
	}
	method := &ssh.PublicKeys{User: config.User, Signer: config.signer}
	method.HostKeyCallback, method.HostKeyAlgorithms = config.HostKeyCallback, config.HostKeyAlgorithms
	return method, remove, nil
}

// SSHConfig returns what a client needs to log in to the server at host:port,
// with the identity, as git without a user. The server's key is compared with
// the known ones, always.
func (c Credentials) SSHConfig(user, hostPort string) (*gossh.ClientConfig, error) {
	config, remove, err := c.sshConfig(user, hostPort)
	if err != nil {
		return nil, err
	}
	remove() // it is read
	config.Auth = []gossh.AuthMethod{gossh.PublicKeys(config.signer)}
	return &config.ClientConfig, nil
}

type sshConfig struct {
	gossh.ClientConfig
	signer gossh.Signer
}

func (c Credentials) sshConfig(user, hostPort string) (*sshConfig, func(), error) {
	if len(c[IdentityKey]) == 0 || len(c[KnownHostsKey]) == 0 {
		return nil, nil, fmt.Errorf("an ssh URL needs the keys %s and %s in its Secret", IdentityKey, KnownHostsKey)
	}
	if user == "" {
		user = "git"
	}
	signer, err := gossh.ParsePrivateKey(c[IdentityKey])
	if err != nil {
		return nil, nil, fmt.Errorf("key %s of its Secret is no private key without a passphrase: %w", IdentityKey, err)
	}
	file, err := os.CreateTemp("", "known_hosts-") // the parser reads files only
	if err != nil {
		return nil, nil, fmt.Errorf("writing down %s: %w", KnownHostsKey, err)
	}
	remove := func() { _ = os.Remove(file.Name()) }
	_, err = file.Write(c[KnownHostsKey])
	if err = errors.Join(err, file.Close()); err != nil {
		remove()
		return nil, nil, fmt.Errorf("writing down %s: %w", KnownHostsKey, err)
	}
	known, err := ssh.NewKnownHostsDb(file.Name())
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("key %s of its Secret: %w", KnownHostsKey, err)
	}
	// A server has several keys: ask for those that are known.
	return &sshConfig{signer: signer, ClientConfig: gossh.ClientConfig{
		User: user, HostKeyCallback: known.HostKeyCallback(), HostKeyAlgorithms: known.HostKeyAlgorithms(hostPort),
	}}, remove, nil
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + ":22"
}
