// Package scrape reads metrics as a scraper does, for tests.
package scrape
