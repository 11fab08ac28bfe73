package lazyfile

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Command is the command of a program that calls Run with the arguments after it.
const Command = "lazyfile"

// Run reads the flags that Start passes, and calls Serve.
func Run(ctx context.Context, args []string, in io.Reader, out io.WriteCloser) error {
	var o Options
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.StringVar(&o.Image, "image", "", "file to serve")
	flags.StringVar(&o.At, "at", "", "folder to serve it in")
	flags.DurationVar(&o.Latency, "latency", 0, "how long loading a chunk takes")
	flags.IntVar(&o.Parallel, "parallel", Parallel, "how many chunks are loaded at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return Serve(ctx, o, in, out)
}

// Start runs a program that has the Command, and opens the file that it serves. When Start
// returns, the file is mounted nowhere: the process outlives this one, and ends with the last
// user of the file, such as a loop device. If this process is killed before, it ends too.
func Start(ctx context.Context, program string, o Options) (_ *os.File, err error) {
	cmd := exec.Command(program, Command, "--image", o.Image, "--at", o.At, //nolint:gosec // this program
		"--latency", o.Latency.String(), "--parallel", strconv.Itoa(o.Parallel))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	f, err := open(in, out)
	if err != nil {
		// It ends, since nothing has its file open.
		return nil, fmt.Errorf("serve %s: %w", o.Image, errors.Join(err, cmd.Wait(), ctx.Err()))
	}
	go func() { _ = cmd.Wait() }()
	return f, nil
}

// open opens the file whose path a process writes, and has the process unmount it.
func open(in io.Closer, out io.Reader) (_ *os.File, err error) {
	lines := bufio.NewReader(out)
	name, err := lines.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the path of the file: %w", err), in.Close())
	}
	name = strings.TrimSuffix(name, "\n")
	// Not os.OpenFile, which asks whether the file can be polled.
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open", Path: name, Err: err}, in.Close())
	}
	f := os.NewFile(uintptr(fd), name)
	if err := in.Close(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// It closes its output once the folder is unmounted.
	if _, err := io.Copy(io.Discard, lines); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
