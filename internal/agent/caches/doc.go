// Package caches turns flags that name caches and trust data into the options
// of a check. All commands that check share it.
package caches
