// Package requests lets an object take up the CacheRequests that are for it,
// one at a time, in the order of their creation.
package requests
