package agentcommand

import (
	"fmt"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// program is the name of the agent's file.
const program = "gocache-agent"

// Command of the agent.
type Command interface {
	// Args begin with the name of the command.
	Args() []string
}

// InImage is the command line of a container of the operator's image.
func InImage(c Command) []string { return In("/", c) }

// In is the command line of a container that has the agent in a directory, where
// [Install] has copied it.
func In(dir string, c Command) []string {
	line := []string{path.Join(dir, program)}
	for _, arg := range c.Args() {
		// The kubelet replaces $(NAME) by a variable, and $$ by $.
		line = append(line, strings.ReplaceAll(arg, "$", "$$"))
	}
	return line
}

// arguments are words, and then the flags of a command in the order of its fields.
// A field that is zero is left out.
func arguments(c Command, words ...string) []string {
	return append(words, flags(reflect.ValueOf(c))...)
}

func flags(of reflect.Value) []string {
	var args []string
	for i := range of.NumField() {
		field, value := of.Type().Field(i), of.Field(i)
		name, isFlag := field.Tag.Lookup("flag")
		switch {
		case field.Anonymous:
			args = append(args, flags(value)...)
		case isFlag && !value.IsZero():
			args = append(args, flag("--"+name, value.Interface())...)
		}
	}
	return args
}

func flag(name string, value any) []string {
	switch v := value.(type) {
	case bool:
		return []string{name}
	case string:
		return []string{name, v}
	case int64:
		return []string{name, strconv.FormatInt(v, 10)}
	case time.Duration:
		return []string{name, v.String()}
	case *time.Duration:
		return []string{name, v.String()}
	case time.Time:
		return []string{name, v.UTC().Format(time.RFC3339)}
	case []string:
		var args []string
		for _, text := range v {
			args = append(args, name, text)
		}
		return args
	}
	panic(fmt.Sprintf("flag %s has a value of type %T", name, value)) // a field of a new type: the agent's test renders each
}
