package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gocache.dev/operator/internal/domain/agentcommand"
)

// TestCommandsOfTheOperator parses each command that the operator renders, with
// every field set, and compares the values of all flags with the fields.
func TestCommandsOfTheOperator(t *testing.T) {
	untested := rendered(t)
	for _, c := range []agentcommand.Command{
		&agentcommand.Verify{}, &agentcommand.Repair{}, &agentcommand.Warm{}, &agentcommand.Cleanup{}, &agentcommand.Fetch{},
		&agentcommand.OfflineBuild{}, &agentcommand.Restore{}, &agentcommand.Store{}, &agentcommand.VCS{},
		&agentcommand.Install{}, &agentcommand.Diff{}, &agentcommand.VolumeTestWrite{}, &agentcommand.VolumeTestCheck{},
	} {
		delete(untested, reflect.TypeOf(c).Elem().Name())
		want := map[string]string{}
		fill(t, reflect.ValueOf(c).Elem(), want)
		cmd, rest, err := newRoot().Find(c.Args())
		if err != nil || cmd.Parent() == nil {
			t.Errorf("%q is no command of the agent: %v", c.Args(), err)
			continue
		}
		t.Run(strings.Join(c.Args()[:1], " ")+" "+cmd.Name(), func(t *testing.T) { parse(t, cmd, rest, want) })
	}
	for name := range untested {
		t.Errorf("agentcommand.%s is not compared with the flags of its command", name)
	}
}

// rendered returns the names of all types that render a command.
func rendered(t *testing.T) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../domain/agentcommand/commands.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
			names[f.Recv.List[0].Type.(*ast.Ident).Name] = true
		}
	}
	return names
}

// fill sets each field, and notes the text that its flag must have.
func fill(t *testing.T, v reflect.Value, want map[string]string) {
	t.Helper()
	for i := range v.NumField() {
		field, flag := v.Type().Field(i), v.Type().Field(i).Tag.Get("flag")
		switch p := v.Field(i).Addr().Interface().(type) {
		case *string:
			*p = "1" + field.Name // a size as well
			if flag == "min-free" {
				*p = "1024"
			}
			want[flag] = *p
		case *bool:
			*p, want[flag] = true, "true"
		case *int64:
			*p, want[flag] = 1<<40, "1099511627776"
		case *[]string:
			*p = []string{"one", "two"}
			want[flag] = "[one,two]"
		case *time.Duration:
			*p, want[flag] = 90*time.Minute, "1h30m0s"
		case **time.Duration:
			*p, want[flag] = new(time.Duration), "0s"
		case *time.Time:
			*p, want[flag] = time.Unix(0, 0), "1970-01-01T00:00:00Z"
		default:
			if !field.Anonymous {
				t.Fatalf("%s has a type that this test does not fill", field.Name)
			}
			fill(t, v.Field(i), want)
		}
	}
	delete(want, "") // arguments without a flag
}

func parse(t *testing.T, cmd *cobra.Command, args []string, want map[string]string) {
	t.Helper()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { got[f.Name] = f.Value.String() })
	for name, value := range got {
		// A single value of a flag that may be given several times.
		if text, ok := want[name]; ok && value == "["+text+"]" {
			want[name] = value
		}
	}
	for _, always := range []string{"json", "termination-log"} { // of commands that report to the operator
		if got[always] == "true" || got[always] == "/dev/termination-log" {
			delete(got, always)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %v\nwant   %v", got, want)
	}
}
