// Package volume does to a mounted volume what is neither Go's business nor a
// check: its usage, its times, flushing it to the device.
package volume
