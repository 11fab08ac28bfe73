// Package netrc reads the credentials of a netrc file.
//
// The format is tokens between white space, of which "machine NAME", "login
// NAME" and "password TEXT" matter. "default" stands for every machine and ends
// the search; a macro ends with an empty line.
package netrc

import "strings"

// Entry is what a file holds for one machine.
type Entry struct {
	// Machine is a host name without a port.
	Machine string
	// Default is set if the entry is for every machine.
	Default         bool
	Login, Password string
}

// Lookup returns the login and the password for a host name without a port.
func Lookup(text, host string) (login, password string, found bool) {
	for _, e := range Parse(text) {
		if e.Default || e.Machine == host && host != "" {
			return e.Login, e.Password, true
		}
	}
	return "", "", false
}

// Parse returns the entries in their order. Those after "default" are never
// looked at, so they are left out.
func Parse(text string) []Entry {
	var entries []Entry
	macro := false
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		if macro {
			macro = len(fields) > 0
			continue
		}
		for i := 0; i < len(fields); i++ {
			value := ""
			if i+1 < len(fields) {
				value = fields[i+1]
			}
			var last Entry // what a login or password without a machine is written to
			e := &last
			if len(entries) > 0 {
				e = &entries[len(entries)-1]
			}
			switch fields[i] {
			case "machine", "default":
				if len(entries) > 0 && e.Default {
					return entries
				}
				next := Entry{Default: fields[i] == "default"}
				if !next.Default {
					next.Machine, i = value, i+1
				}
				entries = append(entries, next)
			case "macdef":
				macro, i = true, len(fields)
			case "login":
				e.Login, i = value, i+1
			case "password":
				e.Password, i = value, i+1
			case "account":
				i++
			}
		}
	}
	return entries
}
