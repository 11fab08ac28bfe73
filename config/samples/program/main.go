// Command runner stands for what your CI builds: a program with a module or
// two behind it. It prints a line, and with -wait stays until it gets a signal to
// end.
package main

import (
	"context"
	"flag"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

func main() {
	wait := flag.Bool("wait", false, "stay until a signal ends it")
	flag.Parse()

	p := message.NewPrinter(language.English)
	fmt.Println(p.Sprintf("built offline, %d bytes of identity: %s", 16, uuid.New()))

	if *wait {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		<-ctx.Done()
	}
}
