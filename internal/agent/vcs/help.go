package vcs

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// HelpCommand is the command of the agent that calls Help.
const HelpCommand = "vcs-help"

// What git and the go command call it for, and how it learns of Access.
const (
	helpGit      = "git"
	helpGo       = "go"
	helpSSH      = "ssh"
	accessFolder = "GOCACHE_VCS_SECRET"
	accessHosts  = "GOCACHE_VCS_HOSTS"
)

// maxRequest bounds what is read of a question, in bytes.
const maxRequest = 64 << 10

// Process is the process that calls Help.
type Process struct {
	Getenv      func(name string) string
	Now         func() time.Time
	In          io.Reader
	Out, Errors io.Writer
}

// Help answers git, as a credential helper and in place of ssh, and the go command
// as a command of GOAUTH. Its environment names the Access. The code is the
// exit code of the program.
func Help(ctx context.Context, args []string, p Process) (code int, err error) {
	a := Access{Secret: p.Getenv(accessFolder), Hosts: p.Getenv(accessHosts)}
	if len(args) == 0 {
		return 1, errors.New("this command is for git and the go command alone")
	}
	switch what, args := args[0], args[1:]; what {
	case helpGit:
		err = a.credential(args, p.In, p.Out)
	case helpGo:
		err = a.authorize(args, p.Out)
	case helpSSH:
		return a.ssh(ctx, args, p)
	default:
		err = fmt.Errorf("there is no help for %q", what)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// credential answers git: https://git-scm.com/docs/git-credential. Nothing is
// printed without credentials.
func (a Access) credential(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 || args[0] != "get" { // nothing is stored or erased
		return nil
	}
	asked := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(in, maxRequest))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		asked[name] = value
	}
	if asked["protocol"] != "https" {
		return lines.Err()
	}
	user, password, ok, err := a.of(asked["host"])
	if err != nil || !ok {
		return errors.Join(err, lines.Err())
	}
	if strings.ContainsAny(user+password, "\n\x00") {
		return errors.New("the user name or the password has a line break")
	}
	_, err = fmt.Fprintf(out, "username=%s\npassword=%s\n", user, password)
	return err
}

// authorize answers the go command, as "go help goauth" describes: at first for
// all known hosts, since some servers show a stranger another page than a user, and
// then for the URL of an answer that refuses.
func (a Access) authorize(args []string, out io.Writer) error {
	ask := a.known()
	if len(args) > 0 {
		u, err := url.Parse(args[len(args)-1])
		if err != nil || u.Scheme != "https" {
			return nil //nolint:nilerr // it is for no one
		}
		ask = []string{u.Host}
	}
	for _, host := range ask {
		user, password, ok, err := a.of(host)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		login := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		if _, err := fmt.Fprintf(out, "https://%s\n\nAuthorization: Basic %s\n\n", host, login); err != nil {
			return err
		}
	}
	return nil
}
