// Package policy decides which versions of which modules a proxy serves: by lists
// of what is denied and allowed, and by the age of a version.
//
// The operator writes a policy as JSON for the instances of a proxy ([Policy.Format]),
// and they read it ([Parse]). [Parse] is also how the operator finds what is wrong
// with a policy, before an instance sees it.
//
//	{
//	  "mode": "Enforce",
//	  "deny": [{"name": "cve-2026-1", "modules": ["example.com/m"], "versions": ["<v1.4.2"], "reason": "…"}],
//	  "advisories": [{"id": "GO-2026-0001", "affected": [{"module": "example.com/m", "versions": ["<v1.4.2"]}], "reason": "…"}],
//	  "allow": [{"name": "ours", "modules": ["corp.example.com", "*.example.org/lib"]}],
//	  "minimumAge": "168h",
//	  "minimumAgeExempt": ["corp.example.com"],
//	  "vetted": ["example.com/reference@v1.0.0"]
//	}
//
// A rule matches a version if any of its modules matches the path and any of its
// versions matches the version; without versions, all do. Modules are patterns of
// path prefixes as in GOPRIVATE. A version is one version, or comparisons between
// blanks that must all hold, such as ">=v1.2.0 <v1.4.0". Versions are ordered as by
// the go command: v1.4.0-rc.1 is before v1.4.0, and build metadata, such as
// +incompatible, does not count.
//
// An advisory names modules by their whole paths: example.com/m/v2 and
// example.com/m/sub are other modules than example.com/m. [ParseOSV] makes them from
// documents in the OSV format.
//
// Deny rules come first; then the advisories; then, if there are allow rules, one of them must match;
// then the version must be old enough. A version without a known time is not.
package policy
