// Package config writes the configuration files of a cluster's components from
// the templates beside it.
package config
