// Package report decodes the reports that agents leave for the operator: untrusted
// JSON, of bounded size and with numbers in the range that counts, sizes and times
// have. What a report must contain is checked by the package of its kind.
package report
