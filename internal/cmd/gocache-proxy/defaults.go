package main

import "os"

// goroot is where a Go distribution would lie, without asking one.
func goroot() string {
	if root := os.Getenv("GOROOT"); root != "" {
		return root
	}
	return "/usr/local/go"
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "gocache-proxy"
	}
	return name
}
