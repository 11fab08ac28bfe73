// Package agentcommand holds the commands of gocache-agent that the operator and
// the plugin run in pods: a struct for each, with a field for each flag that they
// use. A test of the agent's own package renders every field and parses it with
// the agent's flags, so that the two cannot differ.
package agentcommand
