package redact

import (
	"net/url"
	"strings"
)

// Unreadable stands for an address that cannot be read as a URL: any part of it may be
// secret.
const Unreadable = "an address that is not a URL"

// URL is an address without user, password, query and fragment. Words without a scheme,
// such as "off" and "direct", are returned as they are.
func URL(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil, u.Opaque != "", u.Scheme == "" && u.Host == "" && strings.Contains(address, "@"):
		return Unreadable
	}
	return Of(u)
}

// Of is URL of one that was read.
func Of(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, OmitHost: u.OmitHost}).String()
}

// List is URL of each address in a list like GOPROXY, with its separators. A password with
// a separator in it makes parts that look like addresses: if a part of the list cannot be
// read, none of it is returned.
func List(list string) string {
	var out strings.Builder
	for list != "" {
		entry, separator := list, ""
		if i := strings.IndexAny(list, ",|"); i >= 0 {
			entry, separator = list[:i], list[i:i+1]
		}
		list = list[len(entry)+len(separator):]
		clean := URL(entry)
		if clean == Unreadable {
			return "a list with " + Unreadable
		}
		out.WriteString(clean + separator)
	}
	return out.String()
}
